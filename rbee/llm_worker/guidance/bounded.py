"""The process in which a grammar is tried: it ends, by itself or by the kernel, whatever the grammar is."""

import contextlib
import resource
import sys
import threading
from pathlib import Path

from rbee.llm_worker.guidance.matcher import matcher_of, tokenizer_of
from rbee.llm_worker.schema import GrammarRefused

SECONDS = 2
"""On a processor. The largest schema that is let in takes a quarter of one."""

REFUSED = 3
"""How it exits where the grammar is refused, with the reason on its standard output."""

BYTES = 128 << 20
"""Of memory, which a worker's limit has room for. The largest schema that is let in takes a third."""

_BOUNDS = (
    (resource.RLIMIT_CPU, SECONDS, SECONDS + 1),  # by SIGXCPU, not by SIGKILL: that is a lack of memory's
    (resource.RLIMIT_DATA, BYTES, BYTES),
    (resource.RLIMIT_CORE, 0, 0),  # what overflows its stack is nobody's to look at: it has people's text
)
_STACK_BYTES = 1 << 20
"""Less than any thread of the worker has: what overflows there overflows here first."""

_END = 256
_BYTES = [*(bytes([value]) for value in range(_END)), b"<end>"]


def run() -> None:
    """Try the grammar on standard input."""
    grammar = sys.stdin.buffer.read().decode()
    _go_first()
    for limit, *wanted in _BOUNDS:
        _, hard = resource.getrlimit(limit)
        soft, most = (each if hard == resource.RLIM_INFINITY else min(each, hard) for each in wanted)
        resource.setrlimit(limit, (soft, most))
    threading.stack_size(_STACK_BYTES)
    said: list[str] = []
    thread = threading.Thread(target=_try, args=(grammar, said))
    thread.start()
    thread.join()
    if said != [""]:
        sys.stdout.buffer.write(("".join(said) or "llguidance fails with it").encode())
        raise SystemExit(REFUSED)


def _go_first() -> None:
    """Let the kernel end this one, and not the worker, where memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _try(grammar: str, said: list[str]) -> None:
    """Compile for a vocabulary of bytes: what takes long does not depend on the words."""
    try:
        matcher_of(tokenizer_of(_BYTES, silent=frozenset({_END}), ends=[_END]), grammar)
        said.append("")
    except GrammarRefused as refused:
        said.append(str(refused))
