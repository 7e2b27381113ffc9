import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from rbee.adapters import journal
from rbee.adapters.journal import Journal

UNIT = "rbee-worker-cpu-0.service"
END = {
    "MESSAGE": "worker.ended worker=worker-cpu-0 result=signal",
    "RESULT": "signal",
    "CODE": "killed",
    "STATUS": "KILL",
    "OOM": "yes",
    "PEAK_BYTES": "99",
    "LIMIT_BYTES": "100",
    "WORKER": "worker-cpu-0",
    "PRIORITY": "4",
    "_SYSTEMD_UNIT": UNIT,
    "_SYSTEMD_INVOCATION_ID": "abc",
    "_UID": "61234",
    "__REALTIME_TIMESTAMP": "1700000000123456",
}
ABOUT = {
    "MESSAGE": "Starting …",
    "UNIT": UNIT,
    "INVOCATION_ID": "abc",
    "_PID": "1",
    "__REALTIME_TIMESTAMP": "1",
    "PRIORITY": "6",
}
BEFORE = {**ABOUT, "MESSAGE": "of an earlier run", "INVOCATION_ID": "old"}


@pytest.fixture
def journalctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journalctl on PATH that prints ``entries`` and keeps its arguments."""
    script = tmp_path / "journalctl"
    script.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/argv\ncat {tmp_path}/entries\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def entries(folder: Path, found: Sequence[object]) -> None:
    (folder / "entries").write_text("".join(json.dumps(entry) + "\n" for entry in found))


async def test_how_a_worker_ended_is_in_its_post_mortem(journalctl: Path) -> None:
    entries(journalctl, [BEFORE, ABOUT, END])
    ended = await Journal(user=False).last_exit("worker-cpu-0")
    assert ended is not None
    assert (ended.result, ended.code, ended.oom) == ("signal", "killed/KILL", True)
    assert (ended.memory_peak_bytes, ended.memory_limit_bytes, ended.at_ms) == (99, 100, 1_700_000_000_123)
    assert ended.log == (ABOUT["MESSAGE"], END["MESSAGE"])
    assert "WORKER=worker-cpu-0" in (journalctl / "argv").read_text()


async def test_an_entry_that_somebody_else_wrote_in_its_name_is_not_believed(journalctl: Path) -> None:
    stranger = {**END, "_SYSTEMD_UNIT": "user@1000.service", "_UID": "1000"}
    quick_stranger = {key: value for key, value in {**END, "_UID": "1000"}.items() if key != "_SYSTEMD_UNIT"}
    entries(journalctl, [stranger, quick_stranger])
    assert await Journal(user=False).last_exit("worker-cpu-0") is None


async def test_a_post_mortem_that_was_gone_too_soon_is_known_by_its_uid(journalctl: Path) -> None:
    entries(journalctl, [{key: value for key, value in END.items() if not key.startswith("_SYSTEMD")}])
    assert await Journal(user=False).last_exit("worker-cpu-0") is not None


async def test_a_user_reads_their_own_journal(journalctl: Path) -> None:
    entries(journalctl, [END])
    assert await Journal(user=True).last_exit("worker-cpu-0") is not None
    assert "--user" in (journalctl / "argv").read_text()


async def test_logs_are_lines_with_the_events_own_fields(journalctl: Path) -> None:
    entries(journalctl, [ABOUT, {**END, "JOB": "job-1"}, {"MESSAGE": [104, 105, 255], "WORKER": ["a", "b"]}])
    about, line, odd = await Journal(user=False).logs("worker-cpu-0", 3)
    assert about.fields == {}
    assert (line.priority, line.at_ms, line.fields["JOB"]) == (4, 1_700_000_000_123, "job-1")
    assert not any(key.startswith("_") for key in line.fields)
    assert (odd.message, odd.fields["WORKER"]) == ("hi\ufffd", "a")


async def test_a_journal_that_cannot_be_read_tells_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await Journal(user=False).last_exit("worker-cpu-0") is None
    assert await Journal(user=False).logs("worker-cpu-0", 5) == ()


def test_systemds_own_word_is_enough_where_the_kernel_tells_it() -> None:
    told = {**END, "RESULT": "oom-kill", "OOM": "no", "PEAK_BYTES": ""}
    ended = journal.worker_exit(told, [])
    assert (ended.oom, ended.memory_peak_bytes) == (True, None)
