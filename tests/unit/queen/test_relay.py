"""What is passed on of what a worker has said so far."""

import pytest

from rbee.queen.relay import _whole
from rbee.wire.events import Call, JobEvent, Metrics, Token

HALF = Token(i=2, t="w")
"""A piece of a token whose number comes with another piece."""


@pytest.mark.parametrize(
    ("said", "held"),
    [
        ([], 0),
        ([Token(i=0, t="a", ids=(1,))], 0),
        ([Token(i=1, t="a", ids=(1,)), HALF], 1),
        ([Token(i=1, t="a", ids=(1,)), HALF, Call(i=2, index=0, id="c", name="f")], 2),
        ([HALF, Metrics(tokens_out=3, tokens_per_s=1.0)], 0),
        ([Token(i=0, t="a"), Token(i=1, t="b"), HALF], 1),
    ],
    ids=["nothing", "whole", "half", "two halves", "news", "a worker that sends no numbers lags by one token"],
)
def test_pieces_of_a_token_wait_for_its_last(said: list[JobEvent], held: int) -> None:
    numbered = tuple(enumerate(said))
    assert [len(part) for part in _whole(numbered)] == [len(said) - held, held]
