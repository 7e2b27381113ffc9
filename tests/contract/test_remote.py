"""Commands over a real sshd: they are data, they end with us, and their failures are told from ssh's."""

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from rbee.adapters.process import ProgramFailed
from rbee.adapters.ssh import Remote, command
from rbee.adapters.ssh.pool import BrokenAnswer, SshPool
from rbee.errors import NotFound, PoolUnreachable, Timeout, VersionMismatch
from tests.rig.waiting import PATIENCE
from tests.support.sshd import Sshd

NASTY = ["$(touch /tmp/never)", "a'b\"c\\d", "", "--", "*", "two\nlines", "é"]


async def gone(pid: int) -> None:
    """Return when the process has ended; a zombie has."""
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        async with asyncio.timeout(10 * PATIENCE):  # of another's child: nothing can be awaited
            while "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_arguments_are_data(far: Sshd) -> None:
    done = await far.remote.run(["printf", "%s|", *NASTY])
    assert done.stdout == "|".join(NASTY) + "|"


async def test_standard_input_reaches_the_command(far: Sshd) -> None:
    assert (await far.remote.run(["cat"], input=b"secret")).stdout == "secret"


async def test_its_own_exit_is_its_own(far: Sshd) -> None:
    done = await far.remote.run(["sh", "-c", "echo no >&2; exit 3"], check=False)
    assert (done.returncode, done.stderr) == (3, "no\n")
    with pytest.raises(ProgramFailed, match="sh exited 3: no"):
        await far.remote.run(["sh", "-c", "echo no >&2; exit 3"])


async def test_a_missing_program_is_named(far: Sshd) -> None:
    with pytest.raises(NotFound, match=r"rbee-nothing is missing on mac \(far\): rbee is not installed there"):
        await far.remote.run(["rbee-nothing"])


async def test_nobody_listens(far: Sshd) -> None:
    far_off = Remote(name="mac", target="ssh://127.0.0.1:1", ssh_config=far.client_config)
    with pytest.raises(PoolUnreachable, match="refuses ssh on port 1"):
        await far_off.run(["true"])


async def test_a_host_called_like_an_option_is_a_host(far: Sshd, tmp_path: Path) -> None:
    target = f"-oProxyCommand=touch {tmp_path}/run"
    with pytest.raises(PoolUnreachable):
        await Remote(name="mac", target=target, ssh_config=far.client_config).run(["true"])
    assert not (tmp_path / "run").exists()


async def test_a_cancelled_command_ends_there_with_its_children(far: Sshd) -> None:
    printed = far.remote.lines(["sh", "-c", "sleep 1000 & echo $!; wait"])
    async with contextlib.aclosing(printed):
        child = int(await anext(printed))
        os.kill(child, 0)
    await gone(child)


async def test_a_killed_ssh_ends_the_command_too(far: Sshd) -> None:
    """What happens when rbee-keeper is killed with SIGKILL: its end of the leash is closed by the kernel."""
    process = await asyncio.create_subprocess_exec(
        *far.remote._argv(["sh", "-c", "echo $$; sleep 1000"]),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    there = int(await process.stdout.readline())
    process.kill()
    await process.wait()
    await gone(there)


async def test_lines_that_end_badly(far: Sshd) -> None:
    seen = []
    with pytest.raises(ProgramFailed, match="exited 4: broke"):
        async for line in far.remote.lines(["sh", "-c", "echo one; echo broke >&2; exit 4"]):
            seen.append(line)
    assert seen == ["one"]


async def test_both_streams_are_passed_through(far: Sshd) -> None:
    told: list[tuple[str, bool]] = []
    code = await far.remote.passed_through(
        ["sh", "-c", "echo out; echo err >&2; exit 255"], lambda line, err: told.append((line, err))
    )
    assert code == 255
    assert sorted(told) == [("err", True), ("out", False)]


@pytest.mark.parametrize("end", ["\\n", ""])
async def test_a_far_command_whose_own_ssh_fails_is_no_failure_of_ours(far: Sshd, end: str) -> None:
    words = "ssh: Could not resolve hostname backup: Name or service not known"
    argv = ["sh", "-c", f"printf '{words}{end}' >&2; exit 255"]
    told: list[str] = []
    assert await far.remote.passed_through(argv, lambda line, _: told.append(line)) == 255
    assert told == [words]
    with pytest.raises(ProgramFailed, match=f"sh exited 255: {words}$"):
        await far.remote.run(argv)
    with pytest.raises(ProgramFailed, match=f"sh exited 255: {words}$"):
        _ = [line async for line in far.remote.lines(argv)]


async def test_a_command_that_does_not_end_in_time_is_named_with_its_host(far: Sshd) -> None:
    with pytest.raises(Timeout, match=r"sleep on mac \(far\) did not end within 1 s") as raised:
        await far.remote.run(["sleep", "1000"], timeout_s=1)
    assert raised.value.hint == "ssh far sleep 1000"


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo welcome to mac; echo '{}'", "answered what is no answer of ours"),
        ("echo '{\"index\": 1}'", "answered what is no answer of ours"),
        ("echo; exit 0", "nothing"),
        ("echo 'ImportError: no' >&2; exit 1", "exited 1 and said: ImportError: no"),
    ],
)
async def test_a_broken_rbee_hive(far: Sshd, script: str, problem: str) -> None:
    far.install("rbee-hive", f"#!/bin/sh\n{script}\n")
    try:
        with pytest.raises(BrokenAnswer, match=problem):
            await SshPool(far.remote).get_state()
    finally:
        far.install_hive()


async def test_another_version_there_is_named(far: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_VERSION", command._VERSION.replace("=0.", "=9."))
    with pytest.raises(VersionMismatch, match=r"rbee-hive there is 0\.\S+, the rbee-keeper that asks is 9\."):
        await SshPool(far.remote).get_state()
