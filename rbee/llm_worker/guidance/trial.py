"""A grammar is compiled in a process of its own before it is compiled here, where nothing could end that.

llguidance bounds most of what it does, but not how long it looks whether a pattern can match at all, nor how deep it
follows references: one takes for ever, and the other ends the process for want of stack. 50 ms, once for each grammar.
"""

import hashlib
import threading

from rbee.adapters import process
from rbee.errors import RbeeError
from rbee.llm_worker.guidance.bounded import REFUSED, SECONDS
from rbee.llm_worker.schema import GrammarRefused

_WALL_S = 20.0
"""A trial has its time on a processor; on a machine that does not give it that it is not waited for longer."""

_REMEMBERED = 1000

_passed: dict[bytes, None] = {}
_one_at_a_time = threading.Lock()


def attempt(grammar: str) -> None:
    """Return when ``grammar`` is known to compile. Blocks.

    Raises:
        GrammarRefused: it does not, or not within its bounds. Timeout, NoCapacity: that was not found out.
    """
    digest = hashlib.sha256(grammar.encode()).digest()
    if digest in _passed:
        return
    with _one_at_a_time:
        if digest in _passed:
            return
        _try(grammar)
        if len(_passed) >= _REMEMBERED:
            del _passed[next(iter(_passed))]
        _passed[digest] = None


def _try(grammar: str) -> None:
    program = "from rbee.llm_worker.guidance import bounded; bounded.run()"
    code, said = process.apart("the trial of a schema", program, grammar.encode(), timeout_s=_WALL_S)
    if code == REFUSED:
        raise GrammarRefused(said)
    if code < 0:  # by the kernel: time, memory or stack were used up
        raise GrammarRefused(f"it takes more than {SECONDS} s, too much memory, or references nest too deep")
    if code > 0:
        raise RbeeError(f"the trial of a schema failed: exit {code}", hint="send it without its schema")
