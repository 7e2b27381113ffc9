"""A grammar is compiled in a process of its own before it is compiled here, where nothing could end that.

llguidance bounds most of what it does, but not how long it looks whether a pattern can match at all, nor how deep it
follows references: one takes for ever, and the other ends the process for want of stack. 50 ms, once for each grammar.
"""

import hashlib
import signal
import threading

from rbee.adapters import process
from rbee.errors import NoCapacity, RbeeError
from rbee.llm_worker.guidance.bounded import REFUSED, SECONDS
from rbee.llm_worker.schema import GrammarRefused

_WALL_S = 10.0
"""A trial has its time on a processor; on a machine that does not give it that it is not waited for longer."""

_REMEMBERED = 1000
_ITS_OWN = frozenset({signal.SIGXCPU, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT})
"""By which a trial ends that took too much of time, stack or memory. Others come from elsewhere."""

_found: dict[bytes, str] = {}
"""Of each grammar that was tried why it is refused; empty where it is not."""

_one_at_a_time = threading.Lock()


def attempt(grammar: str) -> None:
    """Return when ``grammar`` is known to compile. Blocks.

    Raises:
        GrammarRefused: it does not, or not within its bounds. Timeout, NoCapacity: that was not found out.
    """
    digest = hashlib.sha256(grammar.encode()).digest()
    why = _found.get(digest)
    if why is None:
        with _one_at_a_time:
            why = _found.get(digest)
            if why is None:
                why = _try(grammar)
                if len(_found) >= _REMEMBERED:
                    del _found[next(iter(_found))]
                _found[digest] = why
    if why:
        raise GrammarRefused(why)


def _try(grammar: str) -> str:
    program = "from rbee.llm_worker.guidance import bounded; bounded.run()"
    code, said = process.apart("the trial of a schema", program, grammar.encode(), timeout_s=_WALL_S)
    if code == REFUSED:
        return said
    if -code in _ITS_OWN:
        return f"it takes more than {SECONDS} s, too much memory, or references nest too deep"
    if code < 0:
        raise NoCapacity(f"the trial of a schema was ended by signal {-code}", hint="try again shortly")
    if code > 0:
        raise RbeeError(f"the trial of a schema failed: exit {code}", hint="send it without its schema")
    return ""
