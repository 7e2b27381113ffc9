"""How a worker ended, from systemd's environment and the counters of both cgroup layouts."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from rbee import log
from rbee.llm_worker import post_mortem
from rbee.llm_worker.post_mortem import Memory, memory_folder, read_memory, verdict

V1 = """12:pids:/system.slice/rbee-worker-cpu-0.service
9:memory:/system.slice/rbee-worker-cpu-0.service
3:cpu,cpuacct:/system.slice
1:name=systemd:/system.slice/rbee-worker-cpu-0.service
0::/system.slice/rbee-worker-cpu-0.service
"""
KILLED = {"SERVICE_RESULT": "signal", "EXIT_CODE": "killed", "EXIT_STATUS": "KILL"}


@pytest.fixture(autouse=True)
def _the_log_is_nobodys() -> Iterator[None]:
    """A post-mortem names the speaker for its process, and that is the one of all tests here."""
    yield
    log.setup("rbee")


def read_from(files: Mapping[str, str]) -> post_mortem.Read:
    return lambda name: files.get(name, "")


def test_v2_counters_lie_under_the_unified_path() -> None:
    assert memory_folder("0::/rbee-workers.slice/w.service\n") == ("/sys/fs/cgroup/rbee-workers.slice/w.service", 2)
    assert memory_folder("0::/w.service/.control\n") == ("/sys/fs/cgroup/w.service", 2)


def test_v1_counters_win_on_a_hybrid_host() -> None:
    assert memory_folder(V1) == ("/sys/fs/cgroup/memory/system.slice/rbee-worker-cpu-0.service", 1)


def test_v2_counters() -> None:
    files = {
        "memory.events": "low 0\nhigh 0\nmax 88\noom 1\noom_kill 2\noom_group_kill 0\n",
        "memory.peak": "629145600\n",
        "memory.max": "629145600\n",
    }
    memory = read_memory(2, read_from(files))
    assert (memory.oom_kills, memory.peak_bytes, memory.limit_bytes) == (2, 629145600, 629145600)


def test_v2_without_a_limit_or_a_peak() -> None:
    memory = read_memory(2, read_from({"memory.events": "oom_kill 0\n", "memory.max": "max\n"}))
    assert (memory.oom_kills, memory.peak_bytes, memory.limit_bytes) == (0, None, None)


def test_v1_counters() -> None:
    files = {
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
        "memory.max_usage_in_bytes": "629145600\n",
        "memory.limit_in_bytes": "629145600\n",
    }
    memory = read_memory(1, read_from(files))
    assert (memory.oom_kills, memory.peak_bytes, memory.limit_bytes) == (1, 629145600, 629145600)


def test_v1_without_a_limit() -> None:
    assert read_memory(1, read_from({"memory.limit_in_bytes": "9223372036854771712"})).limit_bytes is None


def test_nothing_there_is_no_oom() -> None:
    memory = read_memory(2, read_from({}))
    assert (memory.oom_kills, memory.peak_bytes, memory.limit_bytes) == (0, None, None)


@pytest.mark.parametrize(
    ("environ", "kills", "oom"),
    [
        (KILLED, 1, True),
        (KILLED, 0, False),
        ({**KILLED, "SERVICE_RESULT": "oom-kill"}, 0, True),
        ({"SERVICE_RESULT": "watchdog", "EXIT_CODE": "dumped", "EXIT_STATUS": "ABRT"}, 1, False),
        ({"SERVICE_RESULT": "success", "EXIT_CODE": "exited", "EXIT_STATUS": "0"}, 1, False),
        ({}, 0, False),
    ],
)
def test_oom_is_what_systemd_or_the_counters_say(environ: dict[str, str], kills: int, oom: bool) -> None:
    assert verdict(environ, Memory(kills))["oom"] is oom


def test_one_event_is_logged_with_the_facts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(log, "event", lambda what, **facts: said.append((what, facts)))
    monkeypatch.setattr(log, "setup", lambda *_, **common: said.append(("setup", common)))
    assert post_mortem.main(["--post-mortem", "--id=worker-cpu-0"], KILLED) == 0
    (_, common), (what, facts) = said
    assert (common, what) == ({"worker": "worker-cpu-0"}, "worker.ended")
    assert (facts["result"], facts["code"], facts["status"]) == ("signal", "killed", "KILL")
    assert set(facts) == {"level", "result", "code", "status", "oom", "peak_bytes", "limit_bytes"}


def test_it_never_fails_the_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post_mortem, "memory_folder", lambda _: 1 / 0)
    assert post_mortem.main(["--post-mortem"], {}) == 0
