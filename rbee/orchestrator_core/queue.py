"""The jobs that wait, and who is next: interactive before batch, first come first served, fair between callers.

Fair is start-time fair queueing (Goyal, Vin, Cheng: SIGCOMM 1996) with jobs of one size: a job's turn is one after
its caller's last, or after the turn that is being served for a caller who had nothing waiting. So nobody's hundred
jobs stand in front of another's one, whoever came first, and a caller who was away has saved nothing up.
"""

import dataclasses
import heapq
import sys
from bisect import bisect_left, insort
from collections.abc import Container, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

from rbee.wire.jobs import Priority

PROMOTED_AFTER_S = 300.0
"""A batch job that has waited this long counts as interactive, unless somebody says otherwise."""

_LAST = sys.maxsize

Rank: TypeAlias = tuple[bool, int, int]
"""Batch or not, turn, order of arrival: the line is sorted by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A job in the queue. ``number`` is its order of arrival and stays with it when it is retried.

    Args:
        need: what it asks for; jobs with equal needs are told the same.
        again: it had its turn before, so it does not wait for another.
    """

    job: str
    number: int
    priority: Priority
    caller: str
    arrived_s: float
    need: Hashable = None
    not_before_s: float = 0.0
    again: bool = False

    @property
    def batch(self) -> bool:
        return self.priority is Priority.BATCH


class Queue:
    """A sorted line, and one for each need: to find the next job costs the number of needs, not that of jobs.

    Clocks are monotonic seconds and are passed in; ``advance`` is called with each before anything else is asked.

    Args:
        promoted_after_s: a batch job that has waited this long counts as interactive.
    """

    def __init__(self, promoted_after_s: float = PROMOTED_AFTER_S) -> None:
        self._promoted_after_s = promoted_after_s
        self._waiting: dict[str, Waiting] = {}
        self._ranks: dict[str, Rank] = {}
        self._line: list[tuple[Rank, str]] = []
        self._needs: dict[Hashable, list[tuple[Rank, str]]] = {}
        self._batch: list[tuple[int, str]] = []
        self._pausing: list[tuple[float, str]] = []
        self._promotions: list[tuple[float, int, str]] = []
        self._turn = {False: 0, True: 0}
        self._last: dict[tuple[bool, str], int] = {}
        self._promoted: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, job: object) -> bool:
        return job in self._waiting

    def push(self, entry: Waiting, now_s: float) -> None:
        """Let ``entry`` wait; ``not_before_s`` keeps it from being next, not from its place."""
        self.remove(entry.job)
        self._waiting[entry.job] = entry
        due_s = entry.arrived_s + self._promoted_after_s
        late = entry.batch and due_s > now_s
        if late:
            heapq.heappush(self._promotions, (due_s, entry.number, entry.job))
        if entry.batch:
            insort(self._batch, (entry.number, entry.job))
        self._enter(entry, late)
        if entry.not_before_s > now_s:
            heapq.heappush(self._pausing, (entry.not_before_s, entry.job))
        else:
            self._open(entry)

    def remove(self, job: str) -> bool:
        """Take ``job`` out; False when it was not waiting."""
        entry = self._waiting.pop(job, None)
        if entry is None:
            return False
        self._leave(entry)
        if entry.batch:
            _drop(self._batch, (entry.number, job))
        if not self._waiting:
            self._forget()
        return True

    def serve(self, job: str) -> bool:
        """Take ``job`` out because it is its turn: its caller's next comes after everybody else's next."""
        rank = self._ranks.get(job)
        if rank is not None:
            self._turn[rank[0]] = max(self._turn[rank[0]], rank[1])
        return self.remove(job)

    def rename(self, job: str, need: Hashable) -> None:
        """Let ``job`` need something else, at the same place in the line."""
        entry = self._waiting[job]
        place = (self._ranks[job], job)
        self._waiting[job] = renamed = dataclasses.replace(entry, need=need)
        if self._close(entry.need, place):
            self._open(renamed)

    def advance(self, now_s: float) -> None:
        """Promote batch jobs that have waited long enough, and let pauses end."""
        while self._promotions and self._promotions[0][0] <= now_s:
            self._promote(heapq.heappop(self._promotions)[2])
        while self._pausing and self._pausing[0][0] <= now_s:
            due_s, job = heapq.heappop(self._pausing)
            if not self._stale_pause(due_s, job):
                self._open(self._waiting[job])

    def heads(self, passed: Container[str] = ()) -> Iterator[Waiting]:
        """Yield jobs that may be tried, next first, but only the first of each need.

        Once that one is served or removed the next of its need takes its place; one that stays stands for all behind.

        Args:
            passed: grows as they are tried; who is in it stays, and yet lets the next of its need come up.
        """
        heads = [(line[0], need) for need, line in self._needs.items()]
        heapq.heapify(heads)
        while heads:
            (rank, job), need = heapq.heappop(heads)
            yield self._waiting[job]
            line = self._needs.get(need, [])
            at = bisect_left(line, (rank, job))
            stays = line[at : at + 1] == [(rank, job)]
            if at + stays < len(line) and (not stays or job in passed):
                heapq.heappush(heads, (line[at + stays], need))

    def first(self, count: int) -> tuple[Waiting, ...]:
        """Return so many of those that wait, next first."""
        return tuple(self._waiting[job] for _, job in self._line[:count])

    def order(self) -> tuple[Waiting, ...]:
        """Return all that wait, next first."""
        return tuple(self._waiting[job] for _, job in self._line)

    def position(self, job: str) -> int | None:
        """Return the place of ``job`` in the line; 0 is next, None is not in it."""
        rank = self._ranks.get(job)
        return None if rank is None else bisect_left(self._line, (rank, job))

    def rank(self, job: str) -> Rank | None:
        """Return where ``job`` stands, to be compared; None where it does not wait."""
        return self._ranks.get(job)

    def next_rank(self, priority: Priority, caller: str) -> Rank:
        """Return where a new job would stand."""
        late = priority is Priority.BATCH
        return late, max(self._turn[late], self._last.get((late, caller), 0)) + 1, _LAST

    def place(self, rank: Rank) -> int:
        """Return how many stand before ``rank``."""
        return bisect_left(self._line, (rank, ""))

    def before(self, rank: Rank, needs: Iterable[Hashable], most: int) -> tuple[int, list[str]]:
        """Return how many jobs with one of ``needs`` could be tried before ``rank``, and at most so many of them."""
        lines = [self._needs.get(need, []) for need in needs]
        counts = [bisect_left(line, (rank, "")) for line in lines]
        jobs = (job for line, count in zip(lines, counts, strict=True) for _, job in line[: min(count, most)])
        return sum(counts), list(islice(jobs, most))

    def waiting_for(self, need: Hashable) -> tuple[Waiting, ...]:
        """Return all that could be tried and need just this, next first."""
        return tuple(self._waiting[job] for _, job in self._needs.get(need, ()))

    def depths(self) -> Mapping[Hashable, int]:
        """Return how many that could be tried have each need."""
        return {need: len(line) for need, line in self._needs.items()}

    def next_due_s(self) -> float | None:
        """Return when the first pause ends or the first batch job is promoted; None when neither will happen."""
        while self._pausing and self._stale_pause(*self._pausing[0]):
            heapq.heappop(self._pausing)
        while self._promotions and self._promotions[0][2] not in self._waiting:
            heapq.heappop(self._promotions)
        dues = [*(due_s for due_s, _ in self._pausing[:1]), *(due_s for due_s, _, _ in self._promotions[:1])]
        return min(dues, default=None)

    def oldest_batch(self) -> str | None:
        """Return the batch job that came first: what the policy ``drop-lru`` gives up."""
        return self._batch[0][1] if self._batch else None

    def _stale_pause(self, due_s: float, job: str) -> bool:
        """Say whether that pause is none any more: the job has gone, or pauses again."""
        entry = self._waiting.get(job)
        return entry is None or entry.not_before_s != due_s

    def _enter(self, entry: Waiting, late: bool) -> None:
        who = (late, entry.caller)
        turn = self._turn[late]
        if not entry.again:
            turn = self._last[who] = max(turn, self._last.get(who, 0)) + 1
        rank = self._ranks[entry.job] = (late, turn, entry.number)
        insort(self._line, (rank, entry.job))

    def _open(self, entry: Waiting) -> None:
        line, place = self._needs.setdefault(entry.need, []), (self._ranks[entry.job], entry.job)
        at = bisect_left(line, place)
        if line[at : at + 1] != [place]:  # two pauses of one job may end in the same moment
            line.insert(at, place)

    def _leave(self, entry: Waiting) -> bool:
        """Return whether it could have been tried."""
        place = (self._ranks.pop(entry.job), entry.job)
        _drop(self._line, place)
        return self._close(entry.need, place)

    def _close(self, need: Hashable, place: tuple[Rank, str]) -> bool:
        line = self._needs.get(need, [])
        opened = _drop(line, place)
        if opened and not line:
            del self._needs[need]
        return opened

    def _promote(self, job: str) -> None:
        """It has waited: it is not sent to the end of the other line, but before all whose turn has not come.

        One of each caller for each turn: else somebody's hundred would stand in front of another's one after all.
        """
        entry = self._waiting.get(job)
        if entry is None or not self._ranks[job][0]:
            return
        opened = self._leave(entry)
        turn = max(self._turn[False], self._promoted.get(entry.caller, -1) + 1)
        self._promoted[entry.caller] = turn
        rank = self._ranks[job] = (False, turn, entry.number)
        insort(self._line, (rank, job))
        if opened:
            self._open(entry)

    def _forget(self) -> None:
        """Nobody waits, so nobody has to wait for another's turn."""
        self._turn = {False: 0, True: 0}
        self._last.clear()
        self._promoted.clear()
        self._pausing.clear()
        self._promotions.clear()


def _drop(line: list[tuple[Rank, str]] | list[tuple[int, str]], place: tuple[Rank, str] | tuple[int, str]) -> bool:
    """Take ``place`` out of a sorted line; False when it is not there."""
    at = bisect_left(line, place)
    if at == len(line) or line[at] != place:
        return False
    del line[at]
    return True
