"""Reading quickly is reading as ``codec`` does: the same value, or left to it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbee.wire import codec, quick
from rbee.wire.events import End, Failure, Metrics, Queued, Started, StopReason, Token
from rbee.wire.inference import InferenceRequest
from rbee.wire.jobs import JobQuery, JobSpec, JobStatus
from rbee.wire.pools import Device, Gpu, Need, PoolSnapshot
from rbee.wire.workers import WorkerSpec, WorkerStatus
from tests.unit.orchestrator_core.snapshots import cuda, device, need, snapshot, worker

SNAPSHOT = snapshot("blep", worker(0), cuda(1), models=("tiny", "big"), devices=(device(), device(0)), needs=(need(),))
RIGHT = (
    SNAPSHOT,
    JobSpec(model="tiny", prompt="x", temperature=0, stop=("a",), deadline_ms=5),
    InferenceRequest(prompt="x", seed=3),
    Token(i=3, t="\0é", ids=(1, 2)),
    Started(worker="w", model="m", seed=1),
    End(tokens_in=1, tokens_out=2, stop_reason=StopReason.EOS, decode_ms=1, ttft_ms=2.5),
    Metrics(tokens_out=1, tokens_per_s=0.5),
    Queued(position=1),
    Failure(code="x", message="y", details={"a": [1]}),
    JobQuery(limit=3),
)  # fmt: skip
ODDITIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["\0", "\ud800", "x" * 400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("value", RIGHT, ids=lambda value: type(value).__name__)
def test_what_is_right_is_read_quickly(value: Any) -> None:
    assert quick.reader_of(type(value))(codec.plain(value), False) == value


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_what_is_odd_is_read_as_slowly_as_ever_or_not_at_all(data: st.DataObject) -> None:
    value = data.draw(st.sampled_from(RIGHT))
    plain = _spoilt(codec.plain(value), data)
    lenient = data.draw(st.booleans())
    problems: list[codec.Problem] = []
    slow = codec._dataclass(type(value), plain, "", problems, lenient)
    try:
        read = quick.reader_of(type(value))(plain, lenient)
    except quick.Odd:
        return
    assert problems == []
    assert read == slow


@pytest.mark.parametrize("kind", [PoolSnapshot, WorkerStatus, WorkerSpec, JobStatus, Gpu, Device, Need])
def test_there_is_a_quick_reader_of_every_field(kind: type[Any]) -> None:
    """A type that ``quick`` does not know would make every message with it slow, and nobody would notice."""
    unknown = quick._unknown(quick._EMPTY).__qualname__
    readers = quick.reader_of(kind).__closure__ or ()
    found = next(cell.cell_contents for cell in readers if isinstance(cell.cell_contents, dict))
    assert [name for name, reader in found.items() if reader.__qualname__ == unknown] == []


def _spoilt(plain: Any, data: st.DataObject) -> Any:
    """Return ``plain`` with something in it replaced, left out or added."""
    if isinstance(plain, dict) and plain and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(plain)))
        return {**plain, key: _spoilt(plain[key], data)}
    if isinstance(plain, list) and plain and data.draw(st.booleans()):
        return [_spoilt(plain[0], data), *plain[1:]]
    if isinstance(plain, dict) and data.draw(st.booleans()):
        dropped = data.draw(st.sets(st.sampled_from(sorted(plain)))) if plain else set()
        return {key: each for key, each in plain.items() if key not in dropped} | {"novel": 1}
    return data.draw(ODDITIES)
