"""How fast each model is at each pool, as measured, and what follows for one that waits."""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from rbee.orchestrator_core.prompts import characters_to_read
from rbee.wire.jobs import JobSpec

REMEMBERED = 20
FADES = 0.8
"""What a job counts of what the one after it does."""

_SIMULATED = 500
"""So many jobs ahead are let run one by one in mind; those before them are taken together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One job that ended by itself. ``ttft_ms`` is at the worker, from its start to its first token.

    Args:
        read: how many characters its texts were, where it only reads (vectors, scores); 0 where it says something.
    """

    tokens_out: int
    ttft_ms: float
    decode_ms: float
    read: int = 0

    @property
    def all_ms(self) -> float:
        return self.ttft_ms + self.decode_ms


@dataclass(frozen=True, slots=True)
class Size:
    """How much a job is: what it may say at most, or how many characters it only reads."""

    max_tokens: int
    read: int = 0


def size_of(spec: JobSpec) -> Size:
    return Size(spec.max_tokens, characters_to_read(spec))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A model at a pool, as its last jobs went. A model either says something, or only reads.

    Args:
        usual_ms: how long one took, all in all.
        base_ms, character_ms: what one takes that only reads, whatever its length, and for each character.
        known: beyond so many nobody knows what more would take.
    """

    ttft_ms: float
    token_ms: float
    tokens_out: float
    usual_ms: float
    base_ms: float = 0.0
    character_ms: float = 0.0
    known: float = float("inf")

    def job_ms(self, size: Size) -> float:
        """Return how long a job of that size takes."""
        if size.read:
            return self.base_ms + self.character_ms * min(size.read, self.known)
        return self.ttft_ms + self.token_ms * min(size.max_tokens, self.tokens_out)

    def remaining_ms(self, size: Size, tokens: int, done: float = 0.0) -> float:
        """Return how long one goes on; past the usual length half of what it still may.

        Args:
            tokens: that it has said.
            done: how much it has read of what it only reads, 0..1.
        """
        if size.read:
            return self.job_ms(size) * (1 - done)
        usual = min(size.max_tokens, self.tokens_out) - tokens
        left = usual if usual > 0 else (size.max_tokens - tokens) / 2
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
    base_ms, character_ms, known = _line([each for each in weighed if each[1].read])
    return Rate(
        ttft_ms=sum(weight * sample.ttft_ms for weight, sample in weighed) / sum(weights),
        token_ms=sum(weight * sample.decode_ms for weight, sample in weighed) / max(sum(weights), tokens),
        tokens_out=tokens / sum(weights),
        usual_ms=sum(weight * sample.all_ms for weight, sample in weighed) / sum(weights),
        base_ms=base_ms,
        character_ms=character_ms,
        known=known,
    )


def _line(weighed: Sequence[tuple[float, Sample]]) -> tuple[float, float, float]:
    """Return the line of least squares through what jobs took that only read: its height, its slope, its end.

    Neither is below 0. Where all were of one length they say nothing about a longer one: the line ends there, since
    a job that is taken for longer than it is has others refused that would have been in time.
    """
    total = sum(weight for weight, _ in weighed)
    if not total:
        return 0.0, 0.0, float("inf")
    size = sum(weight * sample.read for weight, sample in weighed) / total
    took_ms = sum(weight * sample.all_ms for weight, sample in weighed) / total
    spread = sum(weight * (sample.read - size) ** 2 for weight, sample in weighed)
    steepest = took_ms / size
    if len({sample.read for _, sample in weighed}) == 1:
        return 0.0, steepest, size
    both = sum(weight * (sample.read - size) * (sample.all_ms - took_ms) for weight, sample in weighed)
    slope = min(max(0.0, both / spread), steepest)
    return took_ms - slope * size, slope, float("inf")


def _mean(rates: Sequence[Rate]) -> Rate:
    count = len(rates)
    return Rate(
        ttft_ms=sum(rate.ttft_ms for rate in rates) / count,
        token_ms=sum(rate.token_ms for rate in rates) / count,
        tokens_out=sum(rate.tokens_out for rate in rates) / count,
        usual_ms=sum(rate.usual_ms for rate in rates) / count,
        base_ms=sum(rate.base_ms for rate in rates) / count,
        character_ms=sum(rate.character_ms for rate in rates) / count,
        known=min(rate.known for rate in rates),
    )
