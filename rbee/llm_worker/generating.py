"""All answers of a worker, one token each a step: the batch that prompts and answers share, and who is in it.

A step computes the next token of every answer that runs, and with what room is left reads on in the prompts that
wait: so nobody's answer stands still for longer than one step of ``batch_tokens``.
"""

import time
from array import array
from collections.abc import Callable, Sequence

from rbee import log
from rbee.errors import RbeeError
from rbee.llm_worker.answer import Answer, everything_of, sampling_of
from rbee.llm_worker.desk import Desk, Work
from rbee.llm_worker.engine import SlotActivity, Spent
from rbee.llm_worker.ports import Context, Interrupted, LoadedModel, StepFailed
from rbee.llm_worker.seating import Held, Seat, chunks, common, rows, seat, shares, tokens_of
from rbee.llm_worker.slot import Slot
from rbee.wire.events import Failure, Likelihood, Started, StopReason


class Generating:
    """Runs the answers of ``desk`` in the slots of ``context``; ``run`` is the life of the thread.

    Args:
        worker, name: of the worker and its model, in ``started``.
    """

    def __init__(
        self,
        context: Context,
        model: LoadedModel,
        desk: Desk,
        *,
        worker: str,
        name: str,
        activity: Sequence[SlotActivity],
        spent: Spent,
        clock: Callable[[], float],
    ) -> None:
        self.context = context
        self._model, self._desk = model, desk
        self._worker, self._name, self._clock, self._spent = worker, name, clock, spent
        self._slots = [Slot(number=n, held=Held(slot=n), activity=each) for n, each in enumerate(activity)]
        self._given = 0
        self._pieces: dict[int, bytes] = {}
        self._busy: list[Slot] = []

    def run(self) -> None:
        """Compute until the desk closes."""
        while not self._desk.closing:
            self._take_work()
            self._end_cancelled()
            self._step()
            self._desk.tell()
        self._end_cancelled()
        self._desk.tell()

    def known(self) -> list[tuple[int, Sequence[int]]]:
        """Return what the slots know; when nothing runs."""
        return [(slot.number, slot.held.tokens) for slot in self._slots if slot.held.tokens]

    def know(self, slot: int, tokens: Sequence[int]) -> None:
        """Note what a slot was given to know, before anything runs."""
        held = self._slots[slot].held
        held.tokens = held.coming = tokens_of(tokens)

    # Who is in

    def _take_work(self) -> None:
        while (work := self._desk.next(room=len(self._busy) < len(self._slots), able=self._able)) is not None:
            try:
                self._seat(work)
            except Exception as error:  # noqa: BLE001  (one that cannot begin must not end the others)
                self._fail(work, error)
                self._desk.tell()

    def _able(self) -> bool:
        """Say whether there is something to do for anybody; note who waits for a reader."""
        for slot in self._busy:
            slot.activity.paused = slot.answer is not None and slot.answer.work.held
        return any(not slot.activity.paused or (slot.answer and slot.answer.work.cancelled) for slot in self._busy)

    def _seat(self, work: Work) -> None:
        tokens = tokens_of(everything_of(work))
        steady = work.prompt.request.seed is not None and not self.context.mixes
        chunk = self.context.batch_tokens if steady else 0
        found = seat(tokens, [slot.held for slot in self._slots], chunk=chunk)
        if found is None:
            raise RbeeError("no slot is free")  # nobody is taken before one is
        slot = self._slots[found.slot]
        answer = Answer(work, piece=self._piece, ends=self._model.ends, clock=self._clock)
        slot.sampler = self.context.sampler(sampling_of(work), tokens)
        self._given += 1
        slot.answer, slot.held.free, slot.held.used = answer, False, self._given
        slot.activity.busy, slot.activity.paused, slot.activity.progress_s = True, False, self._clock()
        slot.chunk = chunk
        self._busy.append(slot)
        try:
            self._prepare(slot, tokens, found)
        except Exception:
            self._leave(slot)
            raise
        seed = work.prompt.seed
        work.news.append(Started(id=work.job, worker=self._worker, model=self._name, seed=seed))
        self._desk.tell()

    def _prepare(self, slot: Slot, tokens: "array[int]", found: Seat) -> None:
        held = slot.held
        own = found.keep
        if found.source is not None:
            own = min(common(held.tokens, tokens), len(tokens) - 1, held.steady if slot.chunk else len(tokens))
        self._read_from(slot, tokens, self.context.keep(slot.number, own))
        slot.source, slot.want = None if found.source is None else self._slots[found.source], found.keep

    def _read_from(self, slot: Slot, tokens: "array[int]", kept: int) -> None:
        """Let ``slot``, which knows ``kept`` of the ``tokens``, read the rest."""
        held = slot.held
        held.tokens, held.coming = tokens[:kept], tokens
        held.steady = min(held.steady, kept)
        slot.rest, slot.read, slot.asked = tokens[kept:], 0, -1
        if slot.answer is not None and not slot.answer.begun:
            slot.answer.cached = kept

    def _copied(self, slot: Slot) -> bool:
        """Say whether ``slot`` can go on: nobody reads for it what it is to copy, or that is copied now."""
        source = slot.source
        if source is None:
            return True
        there = min(common(source.held.tokens, slot.held.coming), slot.want)
        if slot.chunk:
            there = min(there, source.held.steady) // slot.chunk * slot.chunk
        if there < slot.want and self._is_reading(source, for_=slot):
            return False
        slot.source = None
        if there > len(slot.held.tokens):
            self.context.copy(source.number, slot.number)
            slot.held.steady = source.held.steady
            self._read_from(slot, slot.held.coming, self.context.keep(slot.number, there))
        return True

    def _is_reading(self, source: Slot, *, for_: Slot) -> bool:
        """Say whether ``source`` will soon have read what the other slot waits for."""
        answer = source.answer
        runs = answer is not None and source.reading and not answer.work.held and not answer.work.cancelled
        return runs and common(source.held.coming, for_.held.coming) >= for_.want

    def _end_cancelled(self) -> None:
        for slot in [each for each in self._busy if each.answer is not None and each.answer.work.cancelled]:
            self._end(slot, StopReason.CANCELLED)

    # A step

    def _step(self) -> None:
        """Compute what there is: the next token of every answer, and then, as far as there is room, of the prompts.

        Where a row is computed the same whatever is computed beside it, each prompt has a computation of its own, in
        chunks that begin and end at the same places whoever else is there: so the same seed gives the same text.
        """
        single, hungry = self._ready()
        room = self.context.batch_tokens - len(single)
        if self.context.mixes:
            counts = shares([slot.left for slot in hungry], room)
            self._compute([*((slot, 1) for slot in single), *zip(hungry, counts, strict=True)])
            return
        self._compute([(slot, 1) for slot in single])
        counts = chunks([(len(s.held.tokens), s.left) for s in hungry], room, self.context.batch_tokens)
        for slot, count in zip(hungry, counts, strict=True):
            self._compute([(slot, count)])

    def _ready(self) -> tuple[list[Slot], list[Slot]]:
        """Return the slots that have one token to read, and those that have more, who was served least first."""
        ready = [slot for slot in self._busy if not slot.activity.paused and self._copied(slot)]
        # llama.cpp computes sequences together as far as their numbers follow each other in the batch.
        single = sorted((slot for slot in ready if slot.left == 1), key=lambda slot: slot.number)
        return single, sorted((slot for slot in ready if slot.left > 1), key=lambda slot: slot.read)

    def _compute(self, parts: Sequence[tuple[Slot, int]]) -> None:
        """Read so many tokens of each slot, and draw what follows where all is read."""
        began_s = time.perf_counter()
        stepping = [slot for slot, count in parts if count]
        if not stepping or self._desk.closing:
            return
        self._fill(parts)
        filled_s = time.perf_counter()
        try:
            self.context.step()
        except (Interrupted, StepFailed) as error:
            self._take_back(stepping, error)
            return
        computed_s = time.perf_counter()
        now_s = self._clock()
        for slot in self._busy:
            slot.activity.progress_s = now_s
        for slot in stepping:
            self._note_read(slot)
        drawing = self._about_to_draw(stepping)
        plain = [slot for slot in drawing if slot.plain]
        drawn = self.context.draw([(slot.sampler, slot.asked) for slot in plain])
        drawn_s = time.perf_counter() - computed_s
        for slot, token in zip(plain, drawn, strict=True):
            self._hear(slot, token, None)
        for slot in drawing:
            if not slot.plain and slot.answer is not None:
                self._draw_with_care(slot, slot.answer)
        spent = self._spent
        spent.steps += 1
        spent.compute_s += computed_s - filled_s
        spent.draw_s += drawn_s
        spent.rest_s += time.perf_counter() - computed_s - drawn_s + filled_s - began_s

    def _fill(self, parts: Sequence[tuple[Slot, int]]) -> None:
        counts = {slot.number: count for slot, count in parts if count}
        if any(count > 1 for count in counts.values()):
            for slot, count in parts:
                if count:
                    self._add(slot, count)
            return
        seeded = [slot.number for slot, count in parts if count and slot.chunk]
        for number in rows(list(counts), never_alone=seeded, slots=len(self._slots)):
            if number in counts:
                self._add(self._slots[number], 1)
            else:
                self.context.pad(number)

    def _note_read(self, slot: Slot) -> None:
        held, chunk = slot.held, self.context.batch_tokens
        if len(slot.adding) == chunk and held.steady == len(held.tokens):
            held.steady += chunk
        held.tokens.extend(slot.adding)

    def _add(self, slot: Slot, count: int) -> None:
        slot.adding = slot.rest[slot.read : slot.read + count]
        slot.read += count
        asked = self.context.add(slot.number, slot.adding, len(slot.held.tokens), ask=not slot.reading)
        slot.asked = -1 if slot.reading else asked

    def _about_to_draw(self, stepping: Sequence[Slot]) -> list[Slot]:
        """Return the slots whose next token is drawn now; some end here, which another worker had almost ended."""
        drawing = []
        for slot in stepping:
            answer = slot.answer
            if slot.asked < 0 or answer is None:
                continue
            try:
                reason = None if answer.begun else answer.begin()
            except Exception as error:  # noqa: BLE001  (one answer that fails must not end the others)
                self._fail_one(slot, answer, error)
                continue
            if reason is None:
                drawing.append(slot)
            else:
                self._end(slot, reason)
        return drawing

    def _draw_with_care(self, slot: Slot, answer: Answer) -> None:
        """Draw what a constraint allows, and tell how likely it was."""
        constraint, rivals, context = answer.constraint, answer.rivals, self.context
        try:
            row = None if rivals is None else context.row(slot.asked)
            if constraint is not None:
                constraint.forbid(context.logits(slot.asked))
            (token,) = context.draw([(slot.sampler, slot.asked)])
            if constraint is not None and not self._model.ends(token):
                constraint.take(token)
            likelihood = None if row is None else context.likelihood(row, token, rivals or 0)
        except Exception as error:  # noqa: BLE001  (one answer that fails must not end the others)
            self._fail_one(slot, answer, error)
            return
        self._hear(slot, token, likelihood)

    def _hear(self, slot: Slot, token: int, likelihood: Likelihood | None) -> None:
        """Tell the next token of an answer, and read it in the next step."""
        answer = slot.answer
        if answer is None:
            return
        try:
            reason = answer.hear(token, likelihood)
        except Exception as error:  # noqa: BLE001  (one answer that fails must not end the others)
            self._fail_one(slot, answer, error)
            return
        slot.rest, slot.read = (token,), 0
        if reason is not None:
            self._end(slot, reason)

    def _fail_one(self, slot: Slot, answer: Answer, error: Exception) -> None:
        self._fail(answer.work, error)
        self._leave(slot)

    def _take_back(self, stepping: Sequence[Slot], error: Exception) -> None:
        """Nothing of the step counts. An interrupted one is tried again by whoever still wants it."""
        self.context.resume()
        for slot in stepping:
            slot.read -= len(slot.adding)
            held = slot.held
            unread = slot.rest[slot.read :]
            kept = self.context.keep(slot.number, len(held.tokens))
            if isinstance(error, StepFailed) and slot.answer is not None:
                held.tokens = held.tokens[:kept]
                self._fail(slot.answer.work, error)
                self._leave(slot)
            elif kept < len(held.tokens):
                slot.rest, slot.read = held.tokens[kept:] + tokens_of(unread), 0
                held.tokens = held.tokens[:kept]

    # Who is out

    def _end(self, slot: Slot, reason: StopReason) -> None:
        if slot.answer is not None:
            slot.answer.end(reason)
        self._leave(slot)

    def _leave(self, slot: Slot) -> None:
        """The slot is free; what it knows it keeps."""
        if slot.sampler is not None:
            self.context.free(slot.sampler)
        slot.answer = slot.sampler = slot.source = None
        slot.rest, slot.read = (), 0
        slot.held.free, slot.held.coming = True, slot.held.tokens
        slot.activity.busy = slot.activity.paused = False
        self._busy.remove(slot)

    def _fail(self, work: Work, error: Exception) -> None:
        known = error if isinstance(error, RbeeError) else RbeeError("the decode thread failed")
        reason = str(error) if isinstance(error, StepFailed) else None  # llama.cpp's word on numbers, not on text
        log.foreign("decode.failed", error, job=work.job, reason=reason)
        work.news.append(Failure.of(known))

    def _piece(self, token: int) -> bytes:
        known = self._pieces.get(token)
        if known is None:
            known = self._pieces[token] = self._model.piece(token)
        return known
