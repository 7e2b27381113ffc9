"""systemctl and journalctl are FAKE here: scripts that write down how they were called and say what a test wants."""

import io
import json
import os
from pathlib import Path

import pytest

from rbee.cli import services
from rbee.cli.output import Output
from rbee.cli.services import Service, in_user_manager
from rbee.errors import InvalidRequest, NoManager, NotFound, NotPermitted, RbeeError

SHOWN = """Id=rbee-pool.service
LoadState=loaded
ActiveState=active
SubState=running
StatusText=2 workers (2 ready), queen ok
ActiveEnterTimestamp=Mon 2026-11-23 08:00:00 UTC
InactiveEnterTimestamp=Mon 2026-11-23 09:00:00 UTC
MainPID=42
NRestarts=1

Id=rbee-pool.socket
LoadState=loaded
ActiveState=active
SubState=running
Listen=127.0.0.1:9200 (Stream)
Listen=/run/rbee/pool.sock (Stream)
"""


class Programs:
    """A directory of programs, first on PATH, that say what they are told to."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.calls_file = directory / "calls"

    def add(self, name: str, *, out: str = "", err: str = "", code: int = 0) -> None:
        for stream, text in (("out", out), ("err", err)):
            (self.directory / f"{name}.{stream}").write_text(text)
        script = self.directory / name
        script.write_text(
            f"#!/bin/sh\necho {name} \"$@\" >> '{self.calls_file}'\n"
            f"cat '{self.directory}/{name}.out'\ncat '{self.directory}/{name}.err' >&2\nexit {code}\n"
        )
        script.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Programs(tmp_path)


def shown(*, as_json: bool = False) -> Output:
    return Output(out=io.StringIO(), err=io.StringIO(), as_json=as_json)


def text(output: Output) -> str:
    assert isinstance(output.out, io.StringIO)
    return output.out.getvalue()


async def test_start_starts_socket_and_service(programs: Programs) -> None:
    programs.add("systemctl")
    output = shown()
    await Service("rbee-pool", user=False).start({}, output)
    assert programs.calls == ["systemctl --no-ask-password start rbee-pool.socket rbee-pool.service"]
    assert text(output) == "rbee-pool started\n"


async def test_restart_leaves_the_socket_alone_in_the_users_manager(programs: Programs) -> None:
    programs.add("systemctl")
    await Service("rbee-pool", user=True).restart({}, shown())
    assert programs.calls == ["systemctl --user --no-ask-password restart rbee-pool.service"]


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
async def test_a_dry_run_calls_nobody(programs: Programs, verb: str) -> None:
    output = shown()
    await getattr(Service("rbee-pool", user=False), verb)({"--dry-run": True}, output)
    assert not programs.calls_file.exists()
    assert text(output) == f"would {verb} rbee-pool\n"


async def test_status_is_what_systemd_says(programs: Programs) -> None:
    programs.add("systemctl", out=SHOWN)
    output = shown(as_json=True)
    await Service("rbee-pool", user=False).status({}, output)
    assert json.loads(text(output)) == {
        "id": "rbee-pool",
        "state": "active",
        "sub_state": "running",
        "socket": "active",
        "listens": ["127.0.0.1:9200"],
        "since": "Mon 2026-11-23 08:00:00 UTC",
        "pid": 42,
        "restarts": 1,
        "status": "2 workers (2 ready), queen ok",
    }


async def test_what_is_stopped_is_so_since_it_stopped(programs: Programs) -> None:
    stopped = SHOWN.replace("ActiveState=active", "ActiveState=inactive").replace("SubState=running", "SubState=dead")
    programs.add("systemctl", out=stopped)
    found = await Service("rbee-pool", user=False).state()
    assert (found.since, found.status, found.pid) == ("Mon 2026-11-23 09:00:00 UTC", "", 42)


@pytest.mark.parametrize("lines", ["x", "-3", "1.5", "--follow"])
async def test_so_many_lines_there_cannot_be(programs: Programs, lines: str) -> None:
    programs.add("journalctl")
    with pytest.raises(InvalidRequest, match="--lines is "):
        await Service("rbee-queen", user=True).logs({"--lines": lines}, shown())
    assert not programs.calls_file.exists()


async def test_status_of_what_is_not_installed(programs: Programs) -> None:
    programs.add("systemctl", out="LoadState=not-found\nActiveState=inactive\n")
    with pytest.raises(NotFound, match="rbee-pool.socket is not installed"):
        await Service("rbee-pool", user=False).status({}, shown())


@pytest.mark.parametrize(
    ("said", "kind", "code"),
    [
        ("Failed to start rbee-pool.service: Access denied", NotPermitted, 77),
        ("Failed to start rbee-pool.service: Interactive authentication required.", NotPermitted, 77),
        ("Failed to start rbee-pool.service: Unit rbee-pool.service not found.", NotFound, 66),
        ("Failed to stop rbee-pool.service: Unit rbee-pool.service not loaded.", NotFound, 66),
        ("Failed to connect to bus: Host is down", NoManager, 69),
        ("Job for rbee-pool.service failed.", RbeeError, 70),
    ],
)
async def test_what_systemctl_refuses_is_said_in_our_words(
    programs: Programs, said: str, kind: type[RbeeError], code: int
) -> None:
    programs.add("systemctl", err=said + "\n", code=1)
    with pytest.raises(kind) as raised:
        await Service("rbee-pool", user=False).start({}, shown())
    assert raised.value.exit_code == code
    assert raised.value.hint


async def test_logs_are_printed_as_they_are(programs: Programs) -> None:
    programs.add("journalctl", out="one\ntwo\n")
    output = shown()
    await Service("rbee-queen", user=True).logs({"--lines": "7", "--follow": True}, output)
    assert text(output) == "one\ntwo\n"
    assert programs.calls == [
        "journalctl --user --no-pager --quiet --lines=7 --output=short-iso --follow --unit=rbee-queen.service"
    ]


async def test_logs_as_json_keep_our_fields(programs: Programs) -> None:
    entry = {
        "__CURSOR": "s=1",
        "__REALTIME_TIMESTAMP": "1700000000123456",
        "PRIORITY": "4",
        "MESSAGE": "pool.lost pool=mac",
        "SYSLOG_IDENTIFIER": "queen-rbee",
        "_PID": "1",
        "POOL": "mac",
    }
    programs.add("journalctl", out=json.dumps(entry) + "\n")
    output = shown(as_json=True)
    await Service("rbee-queen", user=False).logs({}, output)
    assert json.loads(text(output)) == [
        {
            "id": "s=1",
            "at_ms": 1_700_000_000_123,
            "priority": 4,
            "message": "pool.lost pool=mac",
            "fields": {"pool": "mac"},
        }
    ]


@pytest.mark.parametrize(
    ("mode", "uid", "installed", "user"),
    [
        ("user", 0, True, True),
        ("system", 1000, False, False),
        ("auto", 0, False, False),
        ("auto", 1000, True, False),
        ("auto", 1000, False, True),
    ],
)
def test_which_manager_has_the_units(
    monkeypatch: pytest.MonkeyPatch, mode: str, uid: int, installed: bool, user: bool
) -> None:
    monkeypatch.setattr(services.os, "geteuid", lambda: uid)
    monkeypatch.setattr(services.os.path, "exists", lambda path: installed and path.endswith("/rbee-pool.socket"))
    assert in_user_manager(mode, "rbee-pool") is user


def test_what_is_no_text_in_the_journal_is_shown_as_text() -> None:
    line = {
        "__CURSOR": "c", "__REALTIME_TIMESTAMP": "1000", "PRIORITY": ["6", "3"],
        "MESSAGE": [27, 91, 49, 255], "JOB": [[104, 105], "last"], "WORKER": None,
    }  # fmt: skip
    found = services.entry(json.dumps(line))
    assert (found["priority"], found["message"]) == (3, "\x1b[1\N{REPLACEMENT CHARACTER}")
    assert found["fields"] == {"job": "last", "worker": ""}
    assert services.entry(json.dumps({"MESSAGE": ["one", [116, 119, 111]]}))["message"] == "two"
