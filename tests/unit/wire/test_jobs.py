"""What a job may hold together, whichever field holds it."""

from typing import Any

import pytest

from rbee.errors import InvalidRequest
from rbee.wire import codec
from rbee.wire.fields import MEBIBYTE
from rbee.wire.jobs import Generation, JobSpec, Message, Role
from rbee.wire.schemas import refuse_excess
from rbee.wire.tools import Tool, ToolCall

HELLO = Message(role=Role.USER, content="hi")
HALF = "é" * (MEBIBYTE // 4)
CALLED = Message(role=Role.ASSISTANT, content="", tool_calls=(ToolCall(id="1", name="f", arguments=HALF),))


def problems(**given: Any) -> dict[str, str]:
    made = Generation(**given)
    return dict([*made.problems(), *made.excess()])


@pytest.mark.parametrize(
    "given",
    [
        {"messages": (Message(role=Role.USER, content=HALF), CALLED)},
        {"messages": (CALLED,), "schema": {"const": HALF}},
        {"messages": (CALLED,), "tools": (Tool(name="f", parameters={"description": HALF}),)},
        {"messages": (HELLO,), "tools": tuple(Tool(name=f"f{n}", description="a" * 65_536) for n in range(16))},
    ],
)
def test_all_that_the_model_reads_or_is_held_to_counts(given: dict[str, Any]) -> None:
    assert f"expected at most {MEBIBYTE}" in problems(**given)["messages"]


def test_a_prompt_counts_with_its_schema() -> None:
    told = problems(prompt="a" * MEBIBYTE, schema={"type": "object"})
    assert told == {
        "prompt": "is 1048593 bytes long with tools and schema (17 bytes), expected at most 1048576",
    }  # fmt: skip


@pytest.mark.parametrize("given", [{"messages": (CALLED, HELLO)}, {"prompt": "a" * MEBIBYTE}])
def test_as_much_as_is_allowed_is_read(given: dict[str, Any]) -> None:
    assert problems(**given) == {}


def test_what_was_accepted_by_other_limits_is_read_and_not_accepted_again() -> None:
    spec = JobSpec(model="tiny", messages=(CALLED, CALLED))
    assert codec.from_dict(JobSpec, codec.plain(spec), lenient=True) == spec
    with pytest.raises(InvalidRequest, match=f"expected at most {MEBIBYTE}"):
        refuse_excess(spec)


@pytest.mark.parametrize("name", ["multipleOf", "minimum", "maximum", "maxLength", "const"])
def test_numbers_of_a_schema_may_have_many_digits(name: str) -> None:
    schema = codec.parse_text(f'{{"type": "integer", "{name}": 1{"0" * 4000}}}')
    if name != "multipleOf":
        refuse_excess(Generation(prompt="x", schema=schema))
        return
    with pytest.raises(InvalidRequest) as caught:
        refuse_excess(Generation(prompt="x", schema=schema))
    assert len(caught.value.message) < 200 and "multipleOf 1000" in caught.value.message


def test_numbers_that_nobody_reads_are_no_json() -> None:
    with pytest.raises(InvalidRequest, match="4300 digits"):
        codec.parse_text("1" * 4301)


def test_so_many_texts_may_end_an_answer() -> None:
    assert problems(prompt="x", stop=("a",) * 4) == {}
    assert problems(prompt="x", stop=("a",) * 5) == {"stop": "has 5 items, expected at most 4"}
