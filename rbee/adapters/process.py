"""The only door to other programs. An argv list goes in, never a shell line."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from rbee.errors import NotFound, RbeeError, Timeout


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
) -> Completed:
    """Run ``argv`` to its end and return what it said.

    Raises:
        NotFound: no such program.
        Timeout: it ran longer than ``timeout_s`` and was killed with its children.
        ProgramFailed: it exited non-zero and ``check`` is set.
    """
    process = await asyncio.create_subprocess_exec(
        which(argv[0]),
        *argv[1:],
        stdin=asyncio.subprocess.DEVNULL if input is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(env) if env is not None else None,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout_s):
            out, err = await process.communicate(input)
    except TimeoutError:
        raise Timeout(f"{argv[0]} ran longer than {timeout_s:g} s") from None
    finally:
        await _end(process)
    done = Completed(
        tuple(argv), process.returncode or 0, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
    )
    if check and done.returncode != 0:
        raise failed(done)
    return done


async def lines(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> AsyncIterator[str]:
    """Yield the lines ``argv`` prints, as it prints them; closing the iterator ends the program."""
    process = await asyncio.create_subprocess_exec(
        which(argv[0]),
        *argv[1:],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env=dict(env) if env is not None else None,
        start_new_session=True,
    )
    assert process.stdout is not None  # noqa: S101  (PIPE was asked for)
    try:
        async for line in process.stdout:
            yield line.decode("utf-8", "replace").rstrip("\n")
    finally:
        await _end(process)


async def attached(argv: Sequence[str]) -> int:
    """Run ``argv`` on this terminal and return its exit status."""
    process = await asyncio.create_subprocess_exec(which(argv[0]), *argv[1:])
    return await process.wait()


def failed(done: Completed) -> ProgramFailed:
    """Return the error for a program that exited non-zero: its last line is the sentence."""
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    last = said[-1] if said else "no output"
    return ProgramFailed(
        f"{done.argv[0]} exited {done.returncode}: {last}",
        details={"argv": list(done.argv), "returncode": done.returncode, "stderr": done.stderr[-4000:]},
    )


async def _end(process: asyncio.subprocess.Process) -> None:
    """Leave no child behind, however we got here."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
