"""All slots of a worker: who sits where, what each keeps, and what one copies from another.

``seating`` decides; here it is done. Whoever waits for what another one reads waits only as long as that one reads it:
who leaves is copied at once. So a free slot is waited for by nobody, each waits for one that was seated before it, and
no two wait for each other.
"""

from array import array
from collections.abc import Sequence

from rbee.errors import RbeeError
from rbee.llm_worker.answer import Answer
from rbee.llm_worker.engine import SlotActivity
from rbee.llm_worker.ports import Context
from rbee.llm_worker.seating import Held, common, seat, tokens_of, worth_copying
from rbee.llm_worker.slot import Slot


class Slots:
    """The slots of ``context``; ``busy`` are those that have an answer to give."""

    def __init__(self, context: Context, activity: Sequence[SlotActivity]) -> None:
        self._context = context
        self._all = [Slot(number=n, held=Held(slot=n), activity=each) for n, each in enumerate(activity)]
        self._worth = worth_copying(context.slot_tokens)
        self._given = 0
        self.busy: list[Slot] = []

    @property
    def room(self) -> bool:
        return len(self.busy) < len(self._all)

    def known(self) -> list[tuple[int, Sequence[int]]]:
        """Return what the slots know; when nothing runs."""
        return [(slot.number, slot.held.tokens) for slot in self._all if slot.held.tokens]

    def know(self, slot: int, tokens: Sequence[int]) -> None:
        """Note what a slot was given to know, before anything runs."""
        held = self._all[slot].held
        held.tokens = held.coming = tokens_of(tokens)

    def lengths(self) -> list[int]:
        """Return how many tokens each slot has."""
        return [len(slot.held.tokens) for slot in self._all]

    def __getitem__(self, number: int) -> Slot:
        return self._all[number]

    def take(self, answer: Answer, tokens: "array[int]", *, chunk: int) -> Slot:
        """Give ``answer`` the slot that knows most of ``tokens``, with what is known already; it is to read the rest.

        Args:
            chunk: see ``seating.seat``.
        """
        helds = [slot.held for slot in self._all]
        found = seat(tokens, helds, chunk=chunk, cuts=self._context.cuts, worth=self._worth)
        if found is None:
            raise RbeeError("no slot is free")  # nobody is taken before one is
        slot = self._all[found.slot]
        self._given += 1
        slot.answer, slot.chunk, slot.held.free, slot.held.used = answer, chunk, False, self._given
        self.busy.append(slot)
        try:
            slot.source, slot.want = None if found.source is None else self._all[found.source], found.keep
            self._read_from(slot, tokens, found.keep if slot.source is None else self._own(slot, tokens))
            self.copied(slot)
        except Exception:
            self.leave(slot)
            raise
        return slot

    def copied(self, slot: Slot) -> bool:
        """Say whether ``slot`` can go on: nobody reads for it what it is to copy, or that is copied now."""
        source = slot.source
        if source is None:
            return True
        there = min(common(source.held.tokens, slot.held.coming), slot.want)
        if slot.chunk:
            there = min(there, source.held.steady) // slot.chunk * slot.chunk
        if there < slot.want and _will_have(source, slot):
            return False
        slot.source = None
        if there > len(slot.held.tokens):
            self._context.copy(source.number, slot.number)
            slot.held.steady = source.held.steady
            self._read_from(slot, slot.held.coming, there)
        return True

    def take_back(self, slot: Slot) -> None:
        """Nothing of the last step counts: what is still known is kept, and the rest read again."""
        slot.read -= len(slot.adding)
        held, unread = slot.held, slot.rest[slot.read :]
        kept = self._context.keep(slot.number, len(held.tokens))
        if kept < len(held.tokens):
            slot.rest, slot.read = held.tokens[kept:] + tokens_of(unread), 0
            self._cut(held, held.tokens[:kept])

    def leave(self, slot: Slot) -> None:
        """The slot is free; what it knows it keeps, and others have of it what they waited for."""
        if slot.sampler is not None:
            self._context.free(slot.sampler)
        slot.answer = slot.sampler = slot.source = None
        slot.rest, slot.read = (), 0
        slot.held.free, slot.held.coming = True, slot.held.tokens
        slot.activity.end()
        self.busy.remove(slot)
        for other in self.busy:
            if other.source is slot:
                self.copied(other)

    def _own(self, slot: Slot, tokens: "array[int]") -> int:
        """Return how much the slot knows by itself, for as long as there is nothing to copy."""
        own = min(common(slot.held.tokens, tokens), len(tokens) - 1)
        return min(own, slot.held.steady) // slot.chunk * slot.chunk if slot.chunk else own

    def _read_from(self, slot: Slot, tokens: "array[int]", count: int) -> None:
        """Let ``slot``, which knows ``count`` of the ``tokens`` if that can be kept, read the rest."""
        kept = self._context.keep(slot.number, count)
        slot.held.coming = tokens
        self._cut(slot.held, tokens[:kept])
        slot.rest, slot.read, slot.asked = tokens[kept:], 0, -1
        if slot.answer is not None and not slot.answer.begun:
            slot.answer.cached = kept

    def _cut(self, held: Held, tokens: "array[int]") -> None:
        chunk = self._context.batch_tokens
        held.tokens, held.steady = tokens, min(held.steady, len(tokens)) // chunk * chunk


def _will_have(source: Slot, slot: Slot) -> bool:
    """Say whether ``source`` reads what the other slot waits for."""
    answer, held = source.answer, source.held
    if answer is None or answer.work.held or answer.work.cancelled or len(held.tokens) >= len(held.coming):
        return False
    return common(held.coming, slot.held.coming) >= slot.want
