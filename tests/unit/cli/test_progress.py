import io

import pytest

from rbee.cli import progress
from rbee.cli.output import Output
from rbee.cli.progress import Bars, Progress, download_facts
from tests.support.commands import Terminal


def test_a_terminal_gets_a_bar_that_moves_and_goes_away() -> None:
    err = Terminal()
    with Progress(Output(out=io.StringIO(), err=err)) as shown:
        shown.show("loading", 0.5, "half of it")
        shown.show("loading", 1.7)
    half, full, gone = err.getvalue().split("\r\x1b[K")[1:]
    assert half == f"loading [{'█' * 15}{'·' * 15}]  50% half of it"
    assert full == f"loading [{'█' * 30}] 100% "
    assert gone == ""


def test_without_a_share_there_is_no_bar() -> None:
    err = Terminal()
    Progress(Output(out=io.StringIO(), err=err)).show("resolving", None, "x")
    assert err.getvalue() == "\r\x1b[Kresolving … x"


def test_elsewhere_a_line_comes_for_each_new_thing_and_then_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now_s[0])
    err = io.StringIO()
    with Progress(Output(out=io.StringIO(), err=err)) as shown:
        shown.show("downloading", 0.1)
        shown.show("downloading", 0.2)
        now_s[0] += progress.LINE_EVERY_S
        shown.show("downloading", 0.3, "3 MiB")
        shown.show("verifying", None)
    assert err.getvalue() == "downloading 10%\ndownloading 30% 3 MiB\nverifying\n"


def test_as_json_nothing_is_said() -> None:
    err = Terminal()
    with Progress(Output(out=io.StringIO(), err=err, as_json=True)) as shown:
        shown.show("loading", 0.5)
    assert err.getvalue() == ""


def test_what_a_download_tells() -> None:
    assert download_facts(12 << 20, 94 << 20, 4.1 * (1 << 20), 20.0) == "12.0 MiB of 94.0 MiB, 4.1 MiB/s, 20 s left"
    assert download_facts(1 << 20, None, None, None) == "1.0 MiB"


def test_several_bars_stand_below_each_other_and_results_go_above_them() -> None:
    out, err = Terminal(), Terminal()
    output = Output(out=out, err=err)
    with Bars(output, ["mac", "workstation"]) as bars:
        bars.of("mac")("downloading", 0.5, "")
        bars.of("workstation")("downloading", None, "x")
        with output.above():
            output.text("mac is done\n")
        bars.end("mac")
    drawn = err.getvalue()
    assert "mac          downloading [" in drawn
    assert "workstation  downloading … x" in drawn
    assert drawn.endswith("\x1b[1A\x1b[J"), "nothing stays"
    assert out.getvalue() == "mac is done\n"


def test_elsewhere_several_tell_by_name() -> None:
    err = io.StringIO()
    with Bars(Output(out=io.StringIO(), err=err), ["mac", "blep"]) as bars:
        bars.of("mac")("downloading", 0.25, "1 MiB/s")
        bars.of("blep")("downloading", 0.5, "")
    assert err.getvalue() == "mac   downloading 25% 1 MiB/s\nblep  downloading 50%\n"
