import asyncio
import os
from pathlib import Path

import pytest

from rbee.adapters import process
from rbee.errors import NotFound, Timeout


async def test_a_program_is_run_and_heard() -> None:
    done = await process.run(["sh", "-c", "cat; echo talk >&2"], input=b"hi")
    assert (done.returncode, done.stdout, done.stderr) == (0, "hi", "talk\n")


async def test_arguments_are_data() -> None:
    done = await process.run(["printf", "%s", "$(id); rm -rf /tmp/x 'y'"])
    assert done.stdout == "$(id); rm -rf /tmp/x 'y'"


async def test_a_failure_says_the_last_words() -> None:
    with pytest.raises(process.ProgramFailed, match="sh exited 3: it broke") as caught:
        await process.run(["sh", "-c", "echo first >&2; echo it broke >&2; exit 3"])
    assert caught.value.details["returncode"] == 3


async def test_a_program_that_is_not_there() -> None:
    with pytest.raises(NotFound, match="no-such-program is not installed"):
        await process.run(["no-such-program"])


async def test_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "child"
    with pytest.raises(Timeout, match="ran longer than 1 s"):
        await process.run(["sh", "-c", 'sleep 600 & echo $! > "$0"; wait', str(note)], timeout_s=1)
    status = Path("/proc", note.read_text().strip(), "status")
    assert not status.exists() or "zombie" in status.read_text()


async def test_lines_come_as_they_are_printed_and_the_program_ends_with_its_reader() -> None:
    lines = process.lines(["sh", "-c", "echo $$; echo two; exec sleep 600"])
    pid = int(await anext(lines))
    assert await anext(lines) == "two"
    await lines.aclose()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_cancelling_kills_the_program() -> None:
    lines = process.lines(["sh", "-c", "echo $$; exec sleep 600"])
    pid = int(await anext(lines))

    async def read_on() -> None:
        async for _ in lines:
            pass

    task = asyncio.create_task(read_on())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
