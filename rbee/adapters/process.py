"""The only door to other programs. An argv list goes in, never a shell line."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import rbee
from rbee.errors import NoCapacity, NotFound, RbeeError, Timeout

LEASH_S = 5.0
"""How long a program on a leash may take to end by itself after its standard input was closed."""

_LONGEST_LINE_BYTES = 16 << 20
_KEPT_BYTES = 64 << 10  # of what a program says of its failure: rbee-hive's is an envelope with a worker's last log

Tell: TypeAlias = Callable[[str, bool], None]
"""Told a line without its end, and whether it came on standard error."""


@dataclass(frozen=True, slots=True)
class Completed:
    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


class ProgramFailed(RbeeError):
    """A program we ran said no; ``details`` has its exit status and last words."""


def which(program: str) -> str:
    """Return the absolute path of ``program``.

    Raises:
        NotFound: it is not on PATH.
    """
    found = shutil.which(program)
    if found is None:
        raise NotFound(f"{program} is not installed", hint=f"install the package that brings {program}")
    return found


async def run(
    argv: Sequence[str],
    *,
    timeout_s: float = 60.0,
    input: bytes | None = None,  # noqa: A002  (subprocess's own word)
    env: Mapping[str, str] | None = None,
    check: bool = True,
    leash: bool = False,
) -> Completed:
    """Run ``argv`` to its end and return what it said.

    Args:
        leash: standard input stays open as long as we want the program to run. When we do not any more, it is closed
            first, and the program has ``LEASH_S`` to see that and end what it started elsewhere.

    Raises:
        NotFound: no such program.
        Timeout: it ran longer than ``timeout_s`` and was killed with its children.
        ProgramFailed: it exited non-zero and ``check`` is set.
    """
    process = await asyncio.create_subprocess_exec(
        which(argv[0]),
        *argv[1:],
        stdin=asyncio.subprocess.DEVNULL if input is None and not leash else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(env) if env is not None else None,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout_s):
            out, err = await (_said(process) if leash else process.communicate(input))
    except TimeoutError:
        raise Timeout(f"{argv[0]} ran longer than {timeout_s:g} s") from None
    finally:
        await _end(process, leash=leash)
    done = Completed(
        tuple(argv), process.returncode or 0, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
    )
    if check and done.returncode != 0:
        raise failed(done)
    return done


async def lines(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, leash: bool = False
) -> AsyncIterator[str]:
    """Yield the lines ``argv`` prints, as it prints them; closing the iterator ends the program.

    Raises:
        NotFound: no such program.
        ProgramFailed: it exited non-zero, after its last line was yielded.
    """
    process = await asyncio.create_subprocess_exec(
        which(argv[0]),
        *argv[1:],
        stdin=asyncio.subprocess.PIPE if leash else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(env) if env is not None else None,
        start_new_session=True,
    )
    assert process.stdout is not None and process.stderr is not None  # noqa: S101  (PIPE was asked for)
    complaints = asyncio.ensure_future(_last_bytes(process.stderr))
    try:
        async for line in _lines_of(process.stdout):
            yield line
        done = Completed(tuple(argv), await process.wait(), "", (await complaints).decode("utf-8", "replace"))
    finally:
        await _end(process, leash=leash)
        complaints.cancel()
    if done.returncode != 0:
        raise failed(done)


async def told(
    argv: Sequence[str], tell: Tell, *, env: Mapping[str, str] | None = None, leash: bool = True
) -> Completed:
    """Run ``argv`` and ``tell`` each line of both its streams; return how it ended and its last words.

    Args:
        leash: as ``run``. Without one it reads nothing, and is told by SIGTERM that it is not wanted any more.
    """
    process = await asyncio.create_subprocess_exec(
        which(argv[0]),
        *argv[1:],
        stdin=asyncio.subprocess.PIPE if leash else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(env) if env is not None else None,
        start_new_session=True,
    )
    assert process.stdout is not None and process.stderr is not None  # noqa: S101  (PIPE was asked for)
    last: dict[bool, list[str]] = {False: [], True: []}

    def keep(line: str, to_stderr: bool) -> None:
        last[to_stderr].append(line)
        del last[to_stderr][:-50]
        tell(line, to_stderr)

    streams = ((process.stdout, False), (process.stderr, True))
    telling = [asyncio.ensure_future(_tell(stream, keep, to_stderr)) for stream, to_stderr in streams]
    try:
        await asyncio.gather(*telling)
        await process.wait()
    finally:
        for one in telling:
            one.cancel()  # what it says of being ended is for nobody
        await _end(process, leash=leash, gently=True)
    return Completed(tuple(argv), process.returncode or 0, "\n".join(last[False]), "\n".join(last[True]))


def beside(module: str, *arguments: str, stdin: int) -> "subprocess.Popen[bytes]":
    """Run one of our modules in a Python of its own, until its standard input ends or it does; see ``ended``."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"LANG": "C.UTF-8", **our_modules()},
        start_new_session=True,
    )


def our_modules() -> dict[str, str]:
    """Return the environment in which another Python finds what this one does.

    Where Python is wrapped, as on NixOS, only who was started by the wrapper knows where the modules are.
    """
    return {"PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}


def apart(what: str, program: str, input: bytes, *, timeout_s: float) -> tuple[int, str]:  # noqa: A002  (subprocess's own word)
    """Run code that imports our modules in a bare Python of its own; return its exit status and what it said. Blocks.

    Args:
        what: this is, for a failure.

    Raises:
        Timeout: it ran longer, and was killed. NoCapacity: no process could be started.
    """
    here = str(Path(rbee.__file__).parents[1])  # an editable install is on no path
    begin = f"import sys; sys.path[:] = sys.argv[1:]; {program}"
    argv = [sys.executable, "-I", "-S", "-c", begin, here, *filter(None, sys.path)]
    try:
        done = subprocess.run(argv, input=input, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise Timeout(f"{what} took longer than {timeout_s:g} s", hint="try again shortly") from None
    except OSError as error:
        raise NoCapacity(
            f"no process could be started for {what}: {error.strerror}", hint="try again shortly"
        ) from None
    return done.returncode, done.stdout.decode("utf-8", "replace")


def ended(process: "subprocess.Popen[bytes]", within_s: float = 1.0) -> int:
    """Return how a program beside us ended, whose standard input is closed; one that goes on is killed."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(within_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


async def _tell(stream: asyncio.StreamReader, tell: Tell, to_stderr: bool) -> None:
    async for line in _lines_of(stream):
        tell(line.rstrip("\r"), to_stderr)


async def _lines_of(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """Yield lines without their ends; one that is longer than we can keep in pieces."""
    kept: list[bytes] = []
    while data := await stream.read(_KEPT_BYTES):
        *ended, begun = data.split(b"\n")
        for end in ended:
            yield _text([*kept, end])
            kept = []
        kept.append(begun)
        if sum(map(len, kept)) >= _LONGEST_LINE_BYTES:
            yield _text(kept)
            kept = []
    if any(kept):
        yield _text(kept)


def _text(pieces: Sequence[bytes]) -> str:
    return b"".join(pieces).decode("utf-8", "replace")


async def _said(process: asyncio.subprocess.Process) -> tuple[bytes, bytes]:
    """Return what a program on a leash says until it ends."""
    assert process.stdout is not None and process.stderr is not None  # noqa: S101  (PIPE was asked for)
    out, err = await asyncio.gather(process.stdout.read(), process.stderr.read())
    await process.wait()
    return out, err


async def _last_bytes(stream: asyncio.StreamReader) -> bytes:
    kept = b""
    while data := await stream.read(_KEPT_BYTES):
        kept = (kept + data)[-_KEPT_BYTES:]
    return kept


def failed(done: Completed) -> ProgramFailed:
    """Return the error for a program that exited non-zero: its last line is the sentence."""
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    last = said[-1] if said else "no output"
    return ProgramFailed(
        f"{done.argv[0]} exited {done.returncode}: {last}",
        details={"argv": list(done.argv), "returncode": done.returncode, "stderr": done.stderr[-_KEPT_BYTES:]},
    )


async def _end(process: asyncio.subprocess.Process, *, leash: bool = False, gently: bool = False) -> None:
    """Leave no child behind, however we got here."""
    transport = process._transport  # type: ignore[attr-defined]  # asyncio has no other way
    for stream in (1, 2):  # wait() waits for their ends as well, and nobody reads on
        if (pipe := transport.get_pipe_transport(stream)) is not None:
            pipe.close()
    if (leash or gently) and process.returncode is None:
        if leash and process.stdin is not None:
            process.stdin.close()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEASH_S):
                await process.wait()
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    transport.close()
    await asyncio.sleep(0)  # or the loop may end before it is closed
