import io
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rbee.cli.confirm import confirm
from rbee.cli.output import Output
from rbee.errors import InvalidRequest
from tests.rig.waiting import PATIENCE
from tests.support.commands import Terminal


def on_terminal(monkeypatch: pytest.MonkeyPatch, answer: str) -> Output:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    monkeypatch.setattr("sys.stderr", Terminal())
    return Output(out=io.StringIO(), err=Terminal())


@pytest.mark.parametrize(
    ("answer", "agreed"), [("y\n", True), ("Yes\n", True), ("\n", False), ("", False), ("n\ny\n", False)]
)
def test_a_terminal_is_asked_once_and_silence_is_no(monkeypatch: pytest.MonkeyPatch, answer: str, agreed: bool) -> None:
    output = on_terminal(monkeypatch, answer)
    assert confirm({}, output, "delete tiny") is agreed
    assert isinstance(output.err, io.StringIO)
    assert output.err.getvalue() == "Delete tiny? [y/N] " + ("" if agreed else "nothing was changed\n")


@pytest.mark.parametrize(("ending", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_is_told_to_end_while_they_ask_ends_at_once(ending: signal.Signals, code: int, tmp_path: Path) -> None:
    (tmp_path / "rbee.toml").write_text('[hosts.mac]\nssh = "root@127.0.0.1"\n')
    words = ["pool", "models", "delete", "x", "--host", "mac", "--config", str(tmp_path / "rbee.toml")]
    ours, theirs = pty.openpty()
    # A suite that runs in the background has SIGINT ignored.
    program = ["env", "--default-signal=INT", sys.executable, "-c", "from rbee.keeper.main import main; main()", *words]
    with subprocess.Popen(program, stdin=theirs, stdout=theirs, stderr=theirs) as asking:
        os.close(theirs)
        said = b""
        while b"[y/N]" not in said:
            said += os.read(ours, 1000)
        asking.send_signal(ending)
        try:
            assert asking.wait(10 * PATIENCE) == code
        finally:
            asking.kill()
    os.close(ours)


def test_without_a_terminal_yes_has_to_be_said() -> None:
    output = Output(out=io.StringIO(), err=io.StringIO())
    with pytest.raises(InvalidRequest, match="this would delete tiny, and there is no terminal to ask on") as raised:
        confirm({}, output, "delete tiny")
    assert raised.value.hint == "add --yes to go on"
    assert confirm({"--yes": True}, output, "delete tiny")


def test_a_dry_run_only_says_it_also_with_yes() -> None:
    output = Output(out=io.StringIO(), err=io.StringIO())
    assert not confirm({"--dry-run": True, "--yes": True}, output, "delete tiny")
    assert isinstance(output.out, io.StringIO)
    assert output.out.getvalue() == "would delete tiny\n"
