"""A list is read whole, or refused: never cut."""

from rbee.wire import codec
from rbee.wire.jobs import Generation


def test_as_many_inputs_as_are_allowed_are_read() -> None:
    assert len(codec.from_dict(Generation, {"work": "embed", "inputs": ["a"] * 2048}).inputs) == 2048
