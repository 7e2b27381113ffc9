"""Everything that comes in from outside passes here."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.errors import InvalidRequest
from rbee.wire import codec
from rbee.wire.catalog import ModelPart
from rbee.wire.events import Token
from rbee.wire.jobs import JobSpec, Placement, Priority
from rbee.wire.pools import PoolSnapshot
from rbee.wire.workers import Backend, WorkerSpec


def wrong_fields(kind: type[Any], data: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        codec.from_dict(kind, data)
    return {entry["field"]: entry["problem"] for entry in caught.value.details["fields"]}


def test_a_whole_job_is_read_and_written_back() -> None:
    data = {
        "model": "smollm2",
        "messages": [{"role": "user", "content": "hé"}],
        "stop": ["\n"],
        "temperature": 0,
        "priority": "batch",
        "placement": {"pool": "blep"},
    }
    spec = codec.from_dict(JobSpec, data)
    assert spec.priority is Priority.BATCH
    assert spec.placement == Placement(pool="blep")
    assert spec.temperature == 0.0
    assert codec.from_dict(JobSpec, json.loads(codec.dump_json(spec))) == spec


def test_every_wrong_field_is_named_at_once() -> None:
    wrong = wrong_fields(
        JobSpec,
        {
            "model": 3,
            "prompt": "a\0b",
            "max_tokens": 0,
            "top_k": True,
            "stop": "x",
            "surprise": 1,
            "placement": {"gpu": -1},
        },
    )
    assert set(wrong) == {"model", "prompt", "max_tokens", "top_k", "stop", "surprise", "placement.gpu"}
    assert wrong["max_tokens"] == "is 0, expected 1..32768 tokens"
    assert wrong["prompt"] == "holds a NUL character"


@pytest.mark.parametrize("both", [{}, {"prompt": "a", "messages": [{"role": "user", "content": "a"}]}])
def test_prompt_or_messages_but_not_both(both: dict[str, Any]) -> None:
    assert wrong_fields(JobSpec, {"model": "m", **both}) == {"prompt": "expected exactly one of prompt and messages"}


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"prompt": "a" * ((1 << 20) + 1)}, "prompt"),
        ({"prompt": "\ud800"}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "a", "temperature": float("nan")}, "temperature"),
        ({"prompt": "a", "max_tokens": 1.5}, "max_tokens"),
        ({"prompt": "a", "max_tokens": 10**400}, "max_tokens"),
        ({"prompt": "a", "id": "../../etc"}, "id"),
        ({"prompt": "a", "stop": ["a"] * 5}, "stop"),
        ({"prompt": "a", "stop": [""]}, "stop"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        ({"messages": []}, "messages"),
    ],
)
def test_a_value_out_of_bounds_is_refused(data: dict[str, Any], field: str) -> None:
    assert field in wrong_fields(JobSpec, {"model": "m", **data})


@pytest.mark.parametrize("data", [None, [], "x", 1, True])
def test_what_is_no_object_is_refused(data: Any) -> None:
    assert "expected an object" in next(iter(wrong_fields(WorkerSpec, data).values()))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{\xff}", "byte 1 is 0xff"),
        (b"{", "not JSON"),
        (b'{"a": NaN}', "NaN"),
        (b"[" * 100_000, "too deep"),
        (b"", "not JSON"),
    ],
)
def test_a_body_that_is_no_json_is_refused_in_a_sentence(body: bytes, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        codec.parse_json(body)


@pytest.mark.parametrize(("open_", "close"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_a_body_may_be_so_deep(open_: str, close: str) -> None:
    times = codec.DEEPEST // len(close)
    deep = f"{open_ * times}1{close * times}"
    assert codec.dump_json(codec.parse_text(deep)) == deep
    with pytest.raises(InvalidRequest, match=f"at most {codec.DEEPEST} objects"):
        codec.parse_text(f"[{deep}]")


def test_a_body_may_be_as_wide_as_it_likes() -> None:
    assert len(codec.parse_text(f"[{','.join(['[{}]'] * 1000)}]")) == 1000


def test_an_answer_of_a_newer_peer_may_hold_more() -> None:
    assert codec.from_dict(Placement, {"pool": "a", "rack": 3}, lenient=True) == Placement(pool="a")


def test_what_a_model_said_may_hold_a_nul() -> None:
    assert codec.from_dict(Token, {"i": 0, "t": "a\0"}, lenient=True).t == "a\0"


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(st.dictionaries(st.sampled_from(sorted(JobSpec.__dataclass_fields__)), junk))
def test_no_junk_gets_through_and_none_breaks_the_codec(data: dict[str, Any]) -> None:
    try:
        spec = codec.from_dict(JobSpec, data)
    except InvalidRequest as error:
        assert error.details["fields"]
    else:
        assert 1 <= spec.max_tokens <= 32_768


@given(junk)
def test_a_snapshot_of_junk_is_refused(data: Any) -> None:
    with pytest.raises(InvalidRequest):
        codec.from_dict(PoolSnapshot, data)


@pytest.mark.parametrize("name", ["a.gguf", "my model (1).gguf", "Größe.Q4_K_M-00001-of-00003.gguf"])
def test_a_part_is_called_as_its_file_is(name: str) -> None:
    assert codec.from_dict(ModelPart, {"name": name, "size_bytes": 1, "sha256": "0" * 64}).name == name


@pytest.mark.parametrize(
    "name", ["../a.gguf", "/a.gguf", ".gguf", "..gguf", "a\n.gguf", "a.partial", f"{'a' * 240}.gguf"]
)
def test_a_part_is_called_as_no_path_is(name: str) -> None:
    with pytest.raises(InvalidRequest, match="name: "):
        codec.from_dict(ModelPart, {"name": name, "size_bytes": 1, "sha256": "0" * 64})


def test_a_sparse_field_is_left_out_where_it_is_as_by_default_and_said_where_it_is_not() -> None:
    """So an older peer, who refuses what it does not know, is only told of it by who uses it."""
    silent = WorkerSpec(backend=Backend.CPU, model="tiny")
    assert "priority" not in codec.plain(silent)
    none = dataclasses.replace(silent, priority=0)
    assert codec.plain(none)["priority"] == 0
    for spec in (silent, none):
        assert codec.from_dict(WorkerSpec, codec.plain(spec)) == spec
