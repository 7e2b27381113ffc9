"""The process that runs a policy: ``python -m rbee.adapters.policy.process``, with a socket for standard input.

Two processes, in truth. The first reads the script and then only watches; the second, forked from it, decides. When a
script ends the second (too much memory, a full stack, a step that does not end), the first says so and forks another,
in a millisecond. Both end when the queen's end of the socket is closed.
"""

import json
import os
import resource
import signal
import socket
from pathlib import Path
from typing import NoReturn

from rbee.adapters.policy import frames
from rbee.adapters.policy.script import Script
from rbee.errors import ConfigInvalid, PolicyFailed

LONGEST_ANSWER_BYTES = 64 << 10
_GRACE_S = 0.01
"""After its limit a script is told to stop at its next step, and so much later it is killed."""


def main() -> None:
    """Read a script, then decide with it until nobody asks any more."""
    queen = socket.socket(fileno=os.dup(0))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for the queen, who may still have decisions to make
    told = json.loads(frames.receive(queen)[0])
    _confine(told["memory_bytes"])
    try:
        _alarm(frames.READ_S, frames.READ_S * frames.PATIENCE)
        script = Script.load(told["path"], told["source"])
    except (ConfigInvalid, MemoryError) as error:
        wrong, hint = getattr(error, "message", "it takes too much memory"), getattr(error, "hint", "")
        _say(queen, {"wrong": wrong, "hint": hint})
        return
    finally:
        _alarm(0, 0)
    _say(queen, {})
    while _watched(queen, script):
        pass


def _confine(memory_bytes: int) -> None:
    """Let this process and its children have so much more memory than it takes now, and leave no core dumps."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _watched(queen: socket.socket, script: Script) -> bool:
    """Run one process that decides, to its end; say whether another is wanted."""
    child = os.fork()
    if child == 0:
        _decide_on(queen, script)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        return False
    try:
        _say(queen, {"ended": os.WTERMSIG(status)})
    except OSError:
        return False
    return True


def _decide_on(queen: socket.socket, script: Script) -> NoReturn:
    try:
        while True:
            context, limit_s = frames.receive(queen)
            _alarm(limit_s + _GRACE_S, limit_s * frames.PATIENCE)
            answer = _answer(script, context, limit_s)
            _alarm(0, 0)  # an answer that was begun is finished, or nobody could read the next
            frames.send(queen, answer)
    except (EOFError, OSError):
        os._exit(0)
    finally:
        os._exit(1)


def _answer(script: Script, context: bytes, limit_s: float) -> bytes:
    try:
        said = json.dumps({"answer": script.decide(context.decode(), limit_s), "said": script.said}).encode()
        if len(said) <= LONGEST_ANSWER_BYTES:
            return said
        fault = f"policy {script.path}: it returned {len(said)} bytes, expected at most {LONGEST_ANSWER_BYTES}"
    except PolicyFailed as error:
        fault = error.message
    except MemoryError:
        os.kill(os.getpid(), signal.SIGABRT)  # as Starlark itself ends of it
    except (ValueError, RecursionError) as error:
        fault = f"policy {script.path}: {error}"
    return json.dumps({"fault": fault, "said": script.said}).encode()


def _alarm(processor_s: float, clock_s: float) -> None:
    """Have the kernel end this process after so much time; 0: not any more. One long step hears nothing else."""
    signal.setitimer(signal.ITIMER_PROF, processor_s)
    signal.setitimer(signal.ITIMER_REAL, clock_s)


def _say(queen: socket.socket, what: dict[str, object]) -> None:
    frames.send(queen, json.dumps(what).encode())


if __name__ == "__main__":
    main()
