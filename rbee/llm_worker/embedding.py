"""Vectors and scores: the work of models that were made for it, as many texts at once as a step has room for."""

import base64
import math
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rbee.llm_worker.desk import Desk, Work, fail
from rbee.llm_worker.engine import SlotActivity, Spent
from rbee.llm_worker.ports import Embedder, Interrupted
from rbee.wire.events import End, Score, Started, StopReason, Vector
from rbee.wire.jobs import Work as Kind


@dataclass(slots=True, kw_only=True, eq=False)
class _Place:
    """A job that runs, and how many of its inputs are done."""

    work: Work
    activity: SlotActivity
    done: int = 0
    first_s: float | None = None


class Embedding:
    """Runs the jobs of ``desk`` in turns, so that a long one holds up nobody; ``run`` is the life of the thread.

    Args:
        turn_tokens: of a turn, unless one text alone is longer.
    """

    def __init__(
        self,
        embedder: Embedder,
        desk: Desk,
        *,
        turn_tokens: int,
        worker: str,
        name: str,
        activity: Sequence[SlotActivity],
        spent: Spent,
        clock: Callable[[], float],
    ) -> None:
        self._embedder, self._desk, self._clock, self._spent = embedder, desk, clock, spent
        self._worker, self._name, self._turn_tokens = worker, name, turn_tokens
        self._free = deque(activity)
        self._turns: deque[_Place] = deque()

    def run(self) -> None:
        """Compute until the desk closes."""
        while not self._desk.closing:
            self._take_work()
            if self._turns:
                place = self._turns[0]
                self._turns.rotate(-1)  # first: one that ends now leaves, and nobody moves up by two
                self._turn(place)
            self._end_cancelled()
            self._desk.tell()
        self._end_cancelled()
        self._desk.tell()

    def _take_work(self) -> None:
        while (work := self._desk.next(room=bool(self._free), able=self._able)) is not None:
            activity = self._free.popleft()
            activity.begin(self._clock())
            self._turns.append(_Place(work=work, activity=activity))
            seed = work.prompt.seed
            work.news.append(Started(id=work.job, worker=self._worker, model=self._name, seed=seed))
            self._desk.tell()

    def _able(self) -> bool:
        for place in self._turns:
            place.activity.paused = place.work.held
        return any(place.work.cancelled or not place.work.held for place in self._turns)

    def _turn(self, place: _Place) -> None:
        work = place.work
        if work.held or work.cancelled:
            return
        texts = self._next_texts(work.prompt.inputs[place.done :])
        began_s = time.perf_counter()
        try:
            found = self._embedder.embed(texts)
        except Interrupted:
            self._embedder.resume()
            return
        except Exception as error:  # noqa: BLE001  (one job that fails must not end the others)
            fail(work, error, "embed.failed")
            self._leave(place)
            return
        self._spent.steps += 1
        self._spent.compute_s += time.perf_counter() - began_s
        now_s = self._clock()
        place.first_s = place.first_s or now_s
        for each in self._turns:  # who waits for their turn stands no more still than whoever has it
            each.activity.progress_s = now_s
        for values, tokens in zip(found, texts, strict=True):
            work.news.append(_event(work, place.done, values, len(tokens)))
            place.done += 1
        if place.done == len(work.prompt.inputs):
            self._end(place, StopReason.EOS)

    def _next_texts(self, inputs: Sequence[Sequence[int]]) -> list[Sequence[int]]:
        """Return as many of ``inputs`` as a turn has room for; the first always fits, or the request was refused."""
        taken: list[Sequence[int]] = []
        room = min(self._turn_tokens, self._embedder.batch_tokens)
        for tokens in inputs[: self._embedder.sequences]:
            if len(tokens) > room and taken:
                break
            taken.append(tokens)
            room -= len(tokens)
        return taken

    def _end_cancelled(self) -> None:
        for place in [each for each in self._turns if each.work.cancelled]:
            self._end(place, StopReason.CANCELLED)

    def _end(self, place: _Place, reason: StopReason) -> None:
        now_s, work = self._clock(), place.work
        first_s = place.first_s or now_s
        work.news.append(
            End(
                tokens_in=work.prompt.tokens_in,
                tokens_out=0,
                stop_reason=reason,
                decode_ms=round((now_s - first_s) * 1000, 3),
                ttft_ms=round((first_s - work.asked_s) * 1000, 3),
            )
        )
        self._leave(place)

    def _leave(self, place: _Place) -> None:
        self._turns.remove(place)
        place.activity.end()
        self._free.append(place.activity)


def _event(work: Work, index: int, values: Sequence[float], tokens: int) -> Vector | Score:
    if work.prompt.request.work is Kind.RERANK:
        return Score(index=index, score=values[0], tokens=tokens)
    length = math.sqrt(sum(value * value for value in values)) or 1.0
    data = struct.pack(f"<{len(values)}f", *(value / length for value in values))
    return Vector(index=index, data=base64.b64encode(data).decode("ascii"), tokens=tokens)
