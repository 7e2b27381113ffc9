import asyncio
import os
import select
import sys
from pathlib import Path

import pytest

from rbee.adapters import process
from rbee.errors import NotFound, Timeout
from tests.rig.waiting import PATIENCE


def has_ended(pid: int, *, within_s: float) -> bool:
    """Wait for the end of a process that is not ours, and which nobody may have collected yet."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], within_s)[0])
    finally:
        os.close(descriptor)


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
    for timeout_s in (1, 5, 25):
        with pytest.raises(Timeout, match=f"ran longer than {timeout_s} s"):
            await process.run(["sh", "-c", 'sleep 600 & echo $! > "$0"; wait', str(note)], timeout_s=timeout_s)
        if note.exists() and note.read_text():
            break  # a busy machine may not come so far in a second
    assert has_ended(int(note.read_text()), within_s=10 * PATIENCE)


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


async def test_lines_are_put_together_and_one_that_is_too_long_comes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_LONGEST_LINE_BYTES", 200_000)
    script = "import sys; sys.stdout.write('a\\n\\n' + 'é' * 300_000 + '\\nb\\r\\nlast'); print('err', file=sys.stderr)"
    heard: dict[bool, list[str]] = {False: [], True: []}
    done = await process.told([sys.executable, "-c", script], lambda line, to_stderr: heard[to_stderr].append(line))
    assert (done.returncode, heard[True]) == (0, ["err"])
    assert heard[False][:2] == ["a", ""]
    assert heard[False][-2:] == ["b", "last"]
    assert len(heard[False]) > 5
    assert "".join(heard[False][2:-2]).count("é") >= 299_990, "a piece may end within a character"


async def test_who_cannot_be_told_ends_the_program_and_hears_no_more() -> None:
    heard: list[str] = []

    def gone(line: str, to_stderr: bool) -> None:
        heard.append(line)
        if not to_stderr:
            raise BrokenPipeError

    script = "trap 'echo ended >&2; exit 1' TERM; echo one; cat >/dev/null; echo told to end >&2"
    with pytest.raises(BrokenPipeError):
        await process.told(["sh", "-c", script], gone)
    assert heard == ["one"]


async def test_a_long_complaint_is_kept_whole() -> None:
    script = "import sys; print('{' + 'x' * 30_000 + '}', file=sys.stderr); sys.exit(69)"
    with pytest.raises(process.ProgramFailed) as caught:
        async for _ in process.lines([sys.executable, "-c", script]):
            pass
    assert caught.value.details["stderr"] == "{" + "x" * 30_000 + "}\n"


@pytest.mark.parametrize("leash", [True, False])
async def test_a_reader_that_leaves_amid_much_output_is_not_held_up(leash: bool) -> None:
    def gone(*_: object) -> None:
        raise BrokenPipeError

    async with asyncio.timeout(20 * PATIENCE):
        with pytest.raises(BrokenPipeError):
            await process.told(["sh", "-c", "seq 1 3000000"], gone, leash=leash)
        async for _ in process.lines(["sh", "-c", "seq 1 3000000"], leash=leash):
            break
        with pytest.raises(Timeout):
            await process.run(["sh", "-c", "seq 1 3000000; sleep 1000"], timeout_s=0.5, leash=leash)
