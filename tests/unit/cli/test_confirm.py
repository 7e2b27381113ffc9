import io

import pytest

from rbee.cli.confirm import confirm
from rbee.cli.output import Output
from rbee.errors import InvalidRequest
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
