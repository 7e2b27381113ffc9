"""What a job may hold together, whichever field holds it."""

from typing import Any

import pytest

from rbee.wire.fields import MEBIBYTE
from rbee.wire.jobs import Generation, Message, Role
from rbee.wire.tools import Tool, ToolCall

HELLO = Message(role=Role.USER, content="hi")
HALF = "é" * (MEBIBYTE // 4)
CALLED = Message(role=Role.ASSISTANT, content="", tool_calls=(ToolCall(id="1", name="f", arguments=HALF),))


def problems(**given: Any) -> dict[str, str]:
    return dict(Generation(**given).problems())


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


def test_so_many_texts_may_end_an_answer() -> None:
    assert problems(prompt="x", stop=("a",) * 4) == {}
    assert problems(prompt="x", stop=("a",) * 5) == {"stop": "has 5 items, expected at most 4"}
