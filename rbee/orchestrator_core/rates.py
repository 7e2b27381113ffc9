"""How fast each model is at each pool, as measured, and what follows for one that waits."""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

REMEMBERED = 20
FADES = 0.8
"""What a job counts of what the one after it does."""

_SIMULATED = 500
"""So many jobs ahead are let run one by one in mind; those before them are taken together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One job that ended by itself. ``ttft_ms`` is at the worker, from its start to its first token."""

    tokens_out: int
    ttft_ms: float
    decode_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A model at a pool, as its last jobs went."""

    ttft_ms: float
    token_ms: float
    tokens_out: float

    def job_ms(self, max_tokens: float) -> float:
        """Return how long a job takes that may say ``max_tokens``."""
        return self.ttft_ms + self.token_ms * min(max_tokens, self.tokens_out)

    def remaining_ms(self, tokens: int, max_tokens: int) -> float:
        """Return how long one goes on that has said ``tokens``; past the usual length half of what it still may."""
        usual = min(max_tokens, self.tokens_out) - tokens
        left = usual if usual > 0 else (max_tokens - tokens) / 2
        return self.token_ms * max(0.0, left) + (self.ttft_ms if tokens == 0 else 0.0)


class Rates:
    """Remembers the last jobs of each model at each pool."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], deque[Sample]] = {}

    def note(self, model: str, pool: str, sample: Sample) -> None:
        self._seen.setdefault((model, pool), deque(maxlen=REMEMBERED)).append(sample)

    def of(self, model: str, pool: str | None = None) -> Rate | None:
        """Return the rate of ``model`` at ``pool``; where it never ran there, at all pools; None: it never ran."""
        here = self._seen.get((model, pool or ""))
        if here:
            return _rate(list(here))
        everywhere = [_rate(list(seen)) for (what, _), seen in self._seen.items() if what == model]
        return _mean(everywhere) if everywhere else None

    def forget(self, pool: str) -> None:
        self._seen = {key: seen for key, seen in self._seen.items() if key[1] != pool}


def start_ms(slots_ms: Sequence[float], ahead: int, job_ms: float) -> float:
    """Return in how many ms a job starts that has ``ahead`` others before it.

    Args:
        slots_ms: when each slot will be free; there is one at least.
        job_ms: how long a job takes.
    """
    skipped = max(0, ahead - _SIMULATED)
    slots = [ms + skipped / len(slots_ms) * job_ms for ms in slots_ms]
    heapq.heapify(slots)
    for _ in range(ahead - skipped):
        heapq.heapreplace(slots, slots[0] + job_ms)
    return slots[0]


def _rate(samples: Sequence[Sample]) -> Rate:
    """Weigh the last jobs most: what else the machine does changes how fast it is."""
    weights = [FADES ** (len(samples) - 1 - n) for n in range(len(samples))]
    weighed = list(zip(weights, samples, strict=True))
    tokens = sum(weight * sample.tokens_out for weight, sample in weighed)
    return Rate(
        ttft_ms=sum(weight * sample.ttft_ms for weight, sample in weighed) / sum(weights),
        token_ms=sum(weight * sample.decode_ms for weight, sample in weighed) / max(sum(weights), tokens),
        tokens_out=tokens / sum(weights),
    )


def _mean(rates: Sequence[Rate]) -> Rate:
    count = len(rates)
    return Rate(
        ttft_ms=sum(rate.ttft_ms for rate in rates) / count,
        token_ms=sum(rate.token_ms for rate in rates) / count,
        tokens_out=sum(rate.tokens_out for rate in rates) / count,
    )
