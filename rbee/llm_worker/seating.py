"""Which slot takes a prompt, and what it knows of it already. Pure.

A slot keeps what it has read after its answer has ended. The next prompt that begins the same way does not read that
again: it goes on in the same slot, or in another that gets a copy, so that a conversation is not overwritten by one
that only shares its beginning.
"""

from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

WORTH_COPYING_TOKENS = 8
"""A common beginning that is shorter is read again, in the smallest slot; see ``worth_copying``."""

_SLOT_PER_TOKEN = 256

MOST_PADDING, MOST_PADDED_TOKENS = 4, 4096
"""A gap is computed with what is around it up to so many rows, which look back on so many tokens together: of a model
of 8B these are half a gigabyte to read (128 KiB each), where its weights are four to eight."""


def worth_copying(slot_tokens: int) -> int:
    """Return how many tokens have to be spared for a copy, which moves all that a slot has room for, be it full or not.

    SmolLM2 135M (Q4_1) on two cores copies a slot of 8,192 tokens, 188 MB, in 12 ms, and reads 6 tokens meanwhile. More
    cores read more and copy no faster; a larger model reads less. A 256th of the slot is dear to none of them.
    """
    return max(WORTH_COPYING_TOKENS, slot_tokens // _SLOT_PER_TOKEN)


def tokens_of(values: Sequence[int] = ()) -> "array[int]":
    """Return ``values`` as tokens are kept here: compact, and quick to compare."""
    return array("i", values)


@dataclass(slots=True, kw_only=True)
class Held:
    """What a slot knows.

    Args:
        tokens: what it has read.
        coming: what it will have read when its prompt is; the same as ``tokens`` when none is being read.
        steady: how many of ``tokens`` were read in whole chunks from the beginning, as they always are.
        free: it has no answer to give.
        used: when it was last given a prompt; the lower the longer ago.
    """

    slot: int
    tokens: "array[int]" = field(default_factory=tokens_of)
    coming: "array[int]" = field(default_factory=tokens_of)
    steady: int = 0
    free: bool = True
    used: int = 0

    def known(self, prompt: "array[int]", *, chunk: int, cuts: bool) -> int:
        """Return how much of ``prompt`` it knows, or will; see ``seat``."""
        shared = min(len(prompt) - 1, common(prompt, self.coming))
        if not cuts:
            whole = len(self.tokens)  # what it will know has no moment at which it ends where this prompt does
            return whole if whole <= shared and (not chunk or whole == self.steady) else 0
        if not chunk:
            return shared
        so_far = self.steady == len(self.tokens) < len(self.coming)
        return min(shared, len(self.coming) if so_far else self.steady) // chunk * chunk


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """``slot`` keeps its first ``keep`` tokens; or it copies that many from ``source`` once that one has read them."""

    slot: int
    keep: int
    source: int | None = None


def seat(
    prompt: "array[int]", slots: Sequence[Held], *, chunk: int = 0, cuts: bool = True, worth: int = WORTH_COPYING_TOKENS
) -> Seat | None:
    """Return the best seat for ``prompt``; None when no slot is free.

    The last token of a prompt is always read: what follows it is what is asked for.

    Args:
        chunk: keep only what was read in chunks of so many tokens, as it would be read again; 0: whatever is known.
        cuts: whether the end of what a slot knows can be cut off; if not it is known as a whole or not at all.
        worth: how many tokens a copy has to spare.
    """
    free = [held for held in slots if held.free]
    if not free:
        return None
    known = {held.slot: held.known(prompt, chunk=chunk, cuts=cuts) for held in slots}
    best = max(slots, key=lambda held: (known[held.slot], held.free, -held.used))
    here = max(free, key=lambda held: (known[held.slot], -held.used))
    oldest = min(free, key=lambda held: (len(held.tokens) > 0, held.used))
    if best.free and (known[best.slot] == len(best.tokens) or oldest is best):
        return Seat(slot=best.slot, keep=known[best.slot])
    if known[best.slot] - known[oldest.slot] >= worth:
        if known[here.slot] == known[best.slot] and len(here.tokens) - known[here.slot] < worth:
            return Seat(slot=here.slot, keep=known[here.slot])
        return Seat(slot=oldest.slot, keep=known[best.slot], source=best.slot)
    return Seat(slot=oldest.slot, keep=known[oldest.slot])


def common(one: "array[int]", other: "array[int]") -> int:
    """Return how many tokens both begin with."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


def shares(rests: Sequence[int], room: int) -> list[int]:
    """Return how many tokens of each prompt are read in a step that has ``room`` for so many.

    Each gets the same, and what one does not need goes to the others, the oldest first: a short prompt is answered
    soon, however long those are that came before it.
    """
    given = [0] * len(rests)
    while room > 0:
        hungry = [n for n, rest in enumerate(rests) if given[n] < rest]
        if not hungry:
            break
        part = max(1, room // len(hungry))
        for n in hungry:
            more = min(part, rests[n] - given[n], room)
            given[n] += more
            room -= more
    return given


def chunks(places: Sequence[tuple[int, int]], room: int, size: int) -> list[int]:
    """Return how many tokens of each prompt are read now, in the order given, as long as there is ``room``.

    Args:
        places: where each goes on, and how many tokens it has left.
        size: chunks end where a multiple of it is reached, or the prompt's end.
    """
    given: list[int] = []
    for position, left in places:
        count = min(left, size - position % size)
        given.append(count if not any(given) or count <= room else 0)
        room -= given[-1]
    return given


def rows(numbers: Sequence[int], lengths: Sequence[int], *, never_alone: Collection[int], room: int) -> list[int]:
    """Return the slots that a step computes for those in ``numbers``, in order; what is more only pads it.

    llama.cpp computes sequences at once as far as their numbers follow each other; after a gap it begins anew, and
    reads all weights again. A row more costs less than that, as long as it looks back on little. And it has other code
    for a sequence alone than for several: ``never_alone`` are those that have to be computed the same whoever else is
    there.

    Args:
        lengths: how many tokens each slot has, which a row of it looks back on.
        room: how many each may have; who is full pads nothing.
    """
    found = set(numbers)
    for before, number in pairwise(sorted(numbers)):
        between = lengths[before + 1 : number]
        if len(between) <= MOST_PADDING and sum(between) <= MOST_PADDED_TOKENS and max(between, default=0) < room:
            found.update(range(before + 1, number))
    for number in never_alone:
        beside = [each for each in (number + 1, number - 1) if 0 <= each < len(lengths)]
        able = [each for each in beside if lengths[each] < room]
        if able and not found.intersection(beside):
            found.add(min(able, key=lambda each: lengths[each]))
    return sorted(found)
