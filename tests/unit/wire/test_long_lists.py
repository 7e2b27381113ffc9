"""A list is read whole, or refused: never cut."""

import pytest

from rbee.errors import InvalidRequest
from rbee.wire import codec
from rbee.wire.events import Token
from rbee.wire.jobs import Generation


def test_as_many_inputs_as_are_allowed_are_read() -> None:
    assert len(codec.from_dict(Generation, {"work": "embed", "inputs": ["a"] * 2048}).inputs) == 2048


def test_a_list_that_has_no_limit_has_none() -> None:
    said = {"i": 0, "t": "a", "ids": list(range(1500))}
    assert codec.from_dict(Token, said, lenient=True).ids == tuple(range(1500))
    assert codec.from_dict(Token, said | {"i": 0.0}, lenient=True).ids == tuple(range(1500))


def test_of_a_long_list_that_is_wrong_a_hundred_places_are_named() -> None:
    with pytest.raises(InvalidRequest, match="and 95 more") as caught:
        codec.from_dict(Token, {"i": 0, "t": "a", "ids": ["x"] * 100_000})
    assert len(caught.value.details["fields"]) == 100
