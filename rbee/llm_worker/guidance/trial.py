"""A grammar is compiled in a process of its own before it is compiled here, where nothing could end that.

llguidance bounds most of what it does, but not how long it looks whether a pattern can match at all, nor how deep it
follows references: one takes for ever, and the other ends the process for want of stack. 50 ms, once for each grammar.
"""

import hashlib
import subprocess
import sys
import threading
from pathlib import Path

import rbee
from rbee.errors import NoCapacity, RbeeError, Timeout
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
    program = "import sys; sys.path[:] = sys.argv[1:]; from rbee.llm_worker.guidance import bounded; bounded.run()"
    here = str(Path(rbee.__file__).parents[1])  # an editable install is on no path
    command = [sys.executable, "-I", "-S", "-c", program, here, *filter(None, sys.path)]
    try:
        done = subprocess.run(command, input=grammar.encode(), capture_output=True, timeout=_WALL_S, check=False)
    except subprocess.TimeoutExpired:
        raise Timeout(f"the schema could not be tried within {_WALL_S:.0f} s", hint="try again shortly") from None
    except OSError as error:
        raise NoCapacity(
            f"no process could be started to try the schema: {error.strerror}", hint="try again shortly"
        ) from None
    if done.returncode == REFUSED:
        raise GrammarRefused(done.stdout.decode("utf-8", "replace"))
    if done.returncode < 0:  # by the kernel: time, memory or stack were used up
        raise GrammarRefused(f"it takes more than {SECONDS} s, too much memory, or references nest too deep")
    if done.returncode > 0:
        raise RbeeError(f"the trial of a schema failed: exit {done.returncode}", hint="send it without its schema")
