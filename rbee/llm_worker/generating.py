"""All answers of a worker, one token each a step: the batch that prompts and answers share, and who is in it.

A step computes the next token of every answer that runs, and with what room is left reads on in the prompts that
wait: so nobody's answer stands still for longer than one step of ``batch_tokens``.
"""

import time
from collections.abc import Callable, Sequence

from rbee.llm_worker.answer import Answer, sampling_of
from rbee.llm_worker.desk import Desk, Work, fail
from rbee.llm_worker.engine import SlotActivity, Spent
from rbee.llm_worker.ports import Context, Interrupted, LoadedModel
from rbee.llm_worker.seating import chunks, rows, shares, tokens_of
from rbee.llm_worker.slot import Slot
from rbee.llm_worker.slots import Slots
from rbee.wire.events import Likelihood, Started, StopReason


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
        self._slots = Slots(context, activity)
        self._pieces: dict[int, bytes] = {}

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
        """See ``Slots.known``."""
        return self._slots.known()

    def know(self, slot: int, tokens: Sequence[int]) -> None:
        """See ``Slots.know``."""
        self._slots.know(slot, tokens)

    # Who is in

    def _take_work(self) -> None:
        while (work := self._desk.next(room=self._slots.room, able=self._able)) is not None:
            try:
                self._seat(work)
            except Exception as error:  # noqa: BLE001  (one that cannot begin must not end the others)
                fail(work, error, "decode.failed")
                self._desk.tell()

    def _able(self) -> bool:
        """Say whether there is something to do for anybody; note who waits for a reader."""
        busy = self._slots.busy
        for slot in busy:
            slot.activity.pause(slot.answer is not None and slot.answer.work.held, self._clock())
        return any(not slot.activity.paused or (slot.answer and slot.answer.work.cancelled) for slot in busy)

    def _seat(self, work: Work) -> None:
        prompt = work.prompt
        steady = prompt.request.seed is not None and not self.context.mixes
        answer = Answer(work, piece=self._piece, ends=self._model.ends, clock=self._clock)
        tokens = tokens_of([*prompt.tokens, *prompt.said])
        slot = self._slots.take(answer, tokens, chunk=self.context.batch_tokens if steady else 0)
        slot.activity.begin(self._clock())
        try:
            slot.sampler = self.context.sampler(sampling_of(work), prompt.tokens, prompt.said)
        except Exception:
            self._slots.leave(slot)
            raise
        work.news.append(Started(id=work.job, worker=self._worker, model=self._name, seed=prompt.seed))
        self._desk.tell()

    def _end_cancelled(self) -> None:
        for slot in [each for each in self._slots.busy if each.answer is not None and each.answer.work.cancelled]:
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
        ready = [slot for slot in self._slots.busy if not slot.activity.paused and self._slots.copied(slot)]
        # llama.cpp computes sequences together as far as their numbers follow each other in the batch.
        single = sorted((slot for slot in ready if slot.left == 1), key=lambda slot: slot.number)
        return single, sorted((slot for slot in ready if slot.left > 1), key=lambda slot: slot.read)

    def _compute(self, parts: Sequence[tuple[Slot, int]]) -> None:
        """Read so many tokens of each slot, and draw what follows where all is read."""
        stepping = [slot for slot, count in parts if count]
        if not stepping or self._desk.closing:
            return
        began_s = time.perf_counter()
        try:
            self._fill(parts)
            filled_s = time.perf_counter()
            self.context.step()
        except Exception as error:  # noqa: BLE001  (a step that fails must not end those that are in no step)
            self._take_back(stepping, error)
            return
        computed_s = time.perf_counter()
        now_s = self._clock()
        for slot in self._slots.busy:
            slot.activity.progress_s = now_s
        for slot in stepping:
            self._note_read(slot)
        drawn_s = self._draw(self._about_to_draw(stepping))
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
        for number in rows(list(counts), self._slots.lengths(), never_alone=seeded, room=self.context.slot_tokens):
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
                self._fail_one(slot, error)
                continue
            if reason is None:
                drawing.append(slot)
            else:
                self._end(slot, reason)
        return drawing

    def _draw(self, drawing: Sequence[Slot]) -> float:
        """Draw and tell the next token of each; return how many seconds the plain draws took."""
        began_s = time.perf_counter()
        plain = [slot for slot in drawing if slot.plain]
        try:
            drawn = self.context.draw([(slot.sampler, slot.asked) for slot in plain]) if plain else []
        except Exception as error:  # noqa: BLE001  (those who are drawn for with care may be luckier)
            for slot in plain:
                self._fail_one(slot, error)
            plain, drawn = [], []
        drawn_s = time.perf_counter() - began_s
        for slot, token in zip(plain, drawn, strict=True):
            self._hear(slot, token, None)
        for slot in drawing:
            if slot.answer is not None and not slot.plain:
                self._draw_with_care(slot, slot.answer)
        return drawn_s

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
            self._fail_one(slot, error)
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
            self._fail_one(slot, error)
            return
        slot.rest, slot.read = (token,), 0
        if reason is not None:
            self._end(slot, reason)

    def _take_back(self, stepping: Sequence[Slot], error: Exception) -> None:
        """Nothing of the step counts. An interrupted one is tried again by whoever still wants it."""
        self.context.resume()
        for slot in stepping:
            self._slots.take_back(slot)
        if not isinstance(error, Interrupted):
            for slot in stepping:
                self._fail_one(slot, error)

    # Who is out

    def _end(self, slot: Slot, reason: StopReason) -> None:
        if slot.answer is not None:
            slot.answer.end(reason)
        self._slots.leave(slot)

    def _fail_one(self, slot: Slot, error: Exception) -> None:
        if slot.answer is not None:
            fail(slot.answer.work, error, "decode.failed")
        self._slots.leave(slot)

    def _piece(self, token: int) -> bytes:
        known = self._pieces.get(token)
        if known is None:
            known = self._pieces[token] = self._model.piece(token)
        return known
