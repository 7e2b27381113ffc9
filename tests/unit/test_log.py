import contextlib
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rbee import log
from tests.rig.waiting import PATIENCE


def test_a_line_says_what_happened_and_the_facts(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("test", worker="w1")
    log.warning("pool.lost", pool="mac", after_s=15.25, jobs=None, ok=True)
    assert capsys.readouterr().err == "<4>pool.lost worker=w1 pool=mac after_s=15.25 ok=yes\n"


def test_nothing_breaks_out_of_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("test")
    log.event("request.failed", path='/a b\n<3>fake "x"')
    out = capsys.readouterr().err
    assert out.count("\n") == 1
    assert 'path="/a b\\n<3>fake \\"x\\""' in out


def test_of_a_failure_that_is_none_of_ours_its_kind_is_told_and_where_it_was_and_no_word_of_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.setup("test")
    try:
        int("what somebody asked")
    except ValueError as error:
        log.foreign("request.failed", error, job="a", reason=None)
    said = capsys.readouterr().err
    assert re.fullmatch(r"<3>request\.failed job=a error=ValueError trace=\S*test_log\.py:\d+\n", said)
    log.foreign("request.failed", ValueError("what somebody asked"))
    assert capsys.readouterr().err == "<3>request.failed error=ValueError\n"


@pytest.mark.parametrize("part", ["daemon", "llm_worker", "queen"])
def test_where_texts_are_worked_on_no_failure_is_logged_by_its_text(part: str) -> None:
    """``log.foreign`` is for those that are not ours; of ours the message is known."""
    files = (Path(log.__file__).parent / part).rglob("*.py")
    assert [file.name for file in files if "repr(error)" in file.read_text()] == []


def test_debug_is_quiet_until_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("test")
    log.debug("a.b")
    assert capsys.readouterr().err == ""


def test_the_journal_gets_fields_and_a_value_of_two_lines_keeps_them() -> None:
    data = log._entry("job.started job=j1", log.INFO, {"job": "j1", "note": "a\nb"})
    assert b"MESSAGE=job.started job=j1\n" in data
    assert b"JOB=j1\n" in data
    assert b"NOTE\n" + struct.pack("<Q", 3) + b"a\nb\n" in data


@pytest.fixture
def journald(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], socket.socket]]:
    """Have events go to a journald of the test's own; each call starts one, the last one's place is taken."""
    path = tmp_path / "socket"

    def start() -> socket.socket:
        path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listening.bind(str(path))
        listening.settimeout(5 * PATIENCE)
        return listening

    log.setup("test")
    journal = log._Journal(str(path))
    monkeypatch.setattr(log, "_journal", journal)
    yield start
    journal._forget()


def test_a_journald_that_went_and_came_is_found_again(
    journald: Callable[[], socket.socket], capsys: pytest.CaptureFixture[str]
) -> None:
    with journald() as first:
        log.event("a.first")
        assert b"a.first" in first.recv(4096)
    log.event("a.lost")
    assert capsys.readouterr().err == "<6>a.lost\n"
    with journald() as second:
        log.event("a.second")
        assert b"a.second" in second.recv(4096)


def test_what_ends_the_process_goes_where_journald_knows_whose_it_is_without_asking(
    journald: Callable[[], socket.socket], capsys: pytest.CaptureFixture[str]
) -> None:
    with journald() as listening:
        log.last("worker.refused", code="config_invalid", hint=None)
        assert capsys.readouterr().err == "<3>worker.refused code=config_invalid\n"
        listening.setblocking(False)
        assert _drain(listening) == 0


def test_a_journald_that_is_stuck_costs_lines_and_no_time(
    journald: Callable[[], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_PATIENCE_S", 0.002)
    with journald() as stuck:
        sent = 0
        while not log._journal._dropped:  # how many it holds depends on sysctls
            log.event("a.flood", text="x" * 1000)
            sent += 1
        stuck.setblocking(False)
        assert _drain(stuck) == sent - 1
        log.event("a.b")
        assert b"log.dropped lines=1" in stuck.recv(4096)
        assert b"a.b" in stuck.recv(4096)


def _drain(listening: socket.socket) -> int:
    """Return how many entries were waiting."""
    count = 0
    with contextlib.suppress(BlockingIOError):
        while listening.recv(4096):
            count += 1
    return count


def test_nobody_to_write_to_is_no_failure() -> None:
    code = (
        "import os, sys; from rbee import log; log.setup('test'); read, write = os.pipe(); os.dup2(write, 2);"
        "os.close(read); os.close(write); [log.event('a.b') for _ in range(3)]; sys.stderr = None; log.event('c.d')"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30 * PATIENCE).returncode == 0
