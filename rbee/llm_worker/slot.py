"""A slot of the batch, and whose answer it gives."""

from collections.abc import Sequence
from dataclasses import dataclass

from rbee.llm_worker.answer import Answer
from rbee.llm_worker.engine import SlotActivity
from rbee.llm_worker.ports import Sampler
from rbee.llm_worker.seating import Held


@dataclass(slots=True, kw_only=True, eq=False)
class Slot:
    """A slot and its answer. ``asked`` is what ``Context.draw`` wants to know of its place in a step; -1: nothing."""

    number: int
    held: Held
    activity: SlotActivity
    answer: Answer | None = None
    sampler: Sampler | None = None
    rest: Sequence[int] = ()
    read: int = 0
    """How much of ``rest`` is read."""
    asked: int = -1
    source: "Slot | None" = None
    """Another slot, whose beginning this one is to copy as soon as it is read."""
    want: int = 0
    """How many tokens of that."""
    chunk: int = 0
    """It keeps and copies only what was read in chunks of so many tokens; 0: whatever is known."""
    adding: Sequence[int] = ()
    """What it has in the step that runs."""

    @property
    def plain(self) -> bool:
        """Its next token is drawn as it comes: nothing constrains it, and nobody asks how likely it is."""
        return self.answer is not None and self.answer.constraint is None and self.answer.rivals is None

    @property
    def reading(self) -> bool:
        return self.read < len(self.rest)

    @property
    def left(self) -> int:
        """Return how many tokens it has to read before its next is drawn."""
        return len(self.rest) - self.read
