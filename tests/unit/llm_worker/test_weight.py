"""What is said of an event's weight is about what Python has to find for it."""

import base64
import os
import tracemalloc
from collections.abc import Callable

import pytest

from rbee.llm_worker.weight import weight
from rbee.wire.events import Call, JobEvent, Likelihood, Metrics, Rival, Score, Token, Vector


def _word(n: int) -> str:
    return f"word-{n}"


def _rivals(n: int) -> tuple[Rival, ...]:
    said = [f"{_word(n)}{place}" for place in range(20)]
    return tuple(Rival(token=each, logprob=-n / 3, bytes=tuple(each.encode())) for each in said)


def _likely(n: int) -> tuple[Likelihood, ...]:
    return (Likelihood(token=_word(n), logprob=-n / 7, bytes=tuple(_word(n).encode()), top=_rivals(n)),)


def _ids(n: int) -> tuple[int, ...]:
    return (1000 + n, 2000 + n)


MADE: dict[str, Callable[[int], JobEvent]] = {
    "a token": lambda n: Token(i=n, t=_word(n), ids=_ids(n)),
    "a long text": lambda n: Token(i=n, t=_word(n) * 500, ids=_ids(n)),
    "another alphabet": lambda n: Token(i=n, t=f"слово {n} " * 500, ids=_ids(n)),
    "likelihoods": lambda n: Token(i=n, t=_word(n), ids=_ids(n), logprobs=_likely(n)),
    "a call": lambda n: Call(i=n, index=0, arguments=_word(n) * 200, ids=_ids(n)),
    "a vector": lambda n: Vector(index=n, data=base64.b64encode(os.urandom(4096)).decode(), tokens=n),
    "a score": lambda n: Score(index=n, score=n / 3, tokens=n),
    "metrics": lambda n: Metrics(tokens_out=n, tokens_per_s=n / 7),
}


@pytest.mark.parametrize("kind", MADE)
def test_the_weight_is_about_what_it_takes(kind: str) -> None:
    made = MADE[kind]
    tracemalloc.start()
    events = [made(n) for n in range(1000, 1500)]
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken / 2 < sum(map(weight, events)) < taken * 2
