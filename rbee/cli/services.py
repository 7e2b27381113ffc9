"""start, stop, restart, status and logs of a daemon: systemctl and journalctl in the right manager, wherever it is."""

import json
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rbee.adapters import process
from rbee.adapters.process import Completed
from rbee.cli.confirm import dry_run
from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.cli.streams import ended_by_reader
from rbee.cli.units import parse_count
from rbee.errors import NoManager, NotFound, NotPermitted

CONTROL_S = 120.0
_SHOWN = "Id,LoadState,ActiveState,SubState,StatusText,ActiveEnterTimestamp,InactiveEnterTimestamp,MainPID,NRestarts"
_LISTEN = re.compile(r"^Listen=(\S+:\d+) \(Stream\)$", re.MULTILINE)
_PLACES = ("/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
# Which manager has the units, asked where they are: the system's for root, or where it has them; else the user's own.
_SCOPED = f"""\
s=--user; [ "$(id -u)" = 0 ] && s=
for d in {" ".join(_PLACES)}; do [ -e "$d/$1.socket" ] && s=; done
p=$2; shift 2; exec "$p" $s "$@"
"""


class Programs(Protocol):
    """Where systemctl and journalctl run: ``adapters.process`` here, ``adapters.ssh.Remote`` there."""

    async def run(self, argv: Sequence[str], *, timeout_s: float) -> Completed: ...

    def lines(self, argv: Sequence[str]) -> AsyncIterator[str]: ...


class Here:
    """``Programs`` of this machine."""

    async def run(self, argv: Sequence[str], *, timeout_s: float) -> Completed:
        return await process.run(argv, timeout_s=timeout_s)

    def lines(self, argv: Sequence[str]) -> AsyncIterator[str]:
        return process.lines(argv)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState:
    """What systemd says of a daemon's units. ``since`` is its own spelling of a time, ``listens`` its socket's."""

    id: str
    state: str
    sub_state: str
    socket: str
    listens: tuple[str, ...]
    since: str
    pid: int | None
    restarts: int
    status: str


class Service:
    """A daemon's pair of units, ``rbee-pool`` or ``rbee-queen``.

    Args:
        user: whether a user's manager has them; None: found out where they are.
    """

    def __init__(self, name: str, *, user: bool | None, programs: Programs | None = None) -> None:
        self.name = name
        self._user = user
        self._programs = programs or Here()

    # What is done

    async def start_units(self) -> None:
        """A socket that lost its descriptors is opened anew."""
        try:
            await self._start_both()
        except process.ProgramFailed:
            await self._anew()

    async def stop_units(self) -> None:
        """The socket goes first, or the next connection would start the service again."""
        await self._systemctl("stop", f"{self.name}.socket", f"{self.name}.service")

    async def restart_units(self) -> None:
        """The socket stays, so no connection is refused, unless it lost its descriptors and has to be opened anew."""
        try:
            await self._systemctl("restart", f"{self.name}.service")
        except process.ProgramFailed:
            await self._anew()

    async def _anew(self) -> None:
        """Start both from nothing: a socket whose unit changed while it was up hears nothing till it was stopped."""
        await self.stop_units()
        await self._start_both()

    async def _start_both(self) -> None:
        await self._systemctl("start", f"{self.name}.socket", f"{self.name}.service")

    async def state(self) -> ServiceState:
        """Raises NotFound when the units are not installed."""
        done = await self._systemctl("show", "-p", f"{_SHOWN},Listen", f"{self.name}.service", f"{self.name}.socket")
        blocks = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in done.stdout.split("\n\n")]
        service, socket = ({**dict.fromkeys(_SHOWN.split(","), ""), **block} for block in (*blocks, {}, {})[:2])
        if socket["LoadState"] != "loaded":
            raise NotFound(f"{self.name}.socket is not installed", hint="make install, or make install-user")
        active = service["ActiveState"] not in ("inactive", "failed")
        return ServiceState(
            id=self.name,
            state=service["ActiveState"],
            sub_state=service["SubState"],
            socket=socket["ActiveState"],
            listens=tuple(_LISTEN.findall(done.stdout)),
            since=service["ActiveEnterTimestamp" if active else "InactiveEnterTimestamp"],
            pid=int(service["MainPID"] or 0) or None,
            restarts=int(service["NRestarts"] or 0),
            status=service["StatusText"] if active else "",
        )

    # Commands of this machine's own

    async def start(self, args: Args, output: Output) -> None:
        await self._act(args, output, "start", self.start_units, "started")

    async def stop(self, args: Args, output: Output) -> None:
        await self._act(args, output, "stop", self.stop_units, "stopped")

    async def restart(self, args: Args, output: Output) -> None:
        await self._act(args, output, "restart", self.restart_units, "restarted")

    async def status(self, _: Args, output: Output) -> None:
        found = await self.state()
        output.facts(found, shown(found))

    async def logs(self, args: Args, output: Output) -> None:
        """Show its part of the journal; ``--follow`` goes on until interrupted."""
        await show_journal(self.journal(args, as_json=output.as_json), output, follow=bool(args.get("--follow")))

    def journal(self, args: Args, *, as_json: bool) -> AsyncIterator[str]:
        """Yield the lines of its journal that the options ask for."""
        follow = ["--follow"] if args.get("--follow") else []
        lines = f"--lines={parse_count(args.get('--lines'), '--lines', default=100)}"
        form = "--output=json" if as_json else "--output=short-iso"
        options = ["--no-pager", "--quiet", lines, form, *follow, f"--unit={self.name}.service"]
        return self._programs.lines(self._scoped("journalctl", *options))

    async def _act(self, args: Args, output: Output, verb: str, act: Callable[[], Any], done: str) -> None:
        if not dry_run(args, output, f"{verb} {self.name}"):
            await act()
            output.done(f"{self.name} {done}", id=self.name)

    async def _systemctl(self, verb: str, *arguments: str) -> Completed:
        try:
            argv = self._scoped("systemctl", "--no-ask-password", verb, *arguments)
            return await self._programs.run(argv, timeout_s=CONTROL_S)
        except process.ProgramFailed as error:
            raise _explained(error, verb, arguments[-1]) from None

    def _scoped(self, program: str, *arguments: str) -> list[str]:
        if self._user is None:
            return ["sh", "-c", _SCOPED, "rbee", self.name, program, *arguments]
        return [program, *(["--user"] if self._user else []), *arguments]


def shown(found: ServiceState) -> Mapping[str, Any]:
    """Return a daemon's state as the facts a person wants to see."""
    return {
        "service": found.id,
        "state": f"{found.state} ({found.sub_state})",
        "socket": " at ".join(filter(None, (found.socket, ", ".join(found.listens)))),
        "since": found.since,
        "pid": found.pid,
        "restarts": found.restarts,
        "status": found.status,
    }


async def show_journal(lines: AsyncIterator[str], output: Output, *, follow: bool) -> None:
    """Print what journalctl prints; as JSON one array, or one document a line when following."""
    entries: list[Any] = []
    with ended_by_reader():
        async for line in lines:
            if output.as_json and not follow:
                entries.append(entry(line))
            elif output.as_json:
                output.event(entry(line))
            else:
                output.text(line + "\n")
    if output.as_json and not follow:
        output.table(entries, [], none="")


def entry(line: str) -> dict[str, Any]:
    """Keep what a reader wants of a journal entry, given as JSON: when, how loud, what, and our own fields."""
    raw = json.loads(line)
    own = {key.lower(): value for key, value in raw.items() if key.isupper() and key[0] != "_" and key not in _OTHERS}
    return {
        "id": raw.get("__CURSOR", ""),
        "at_ms": int(raw.get("__REALTIME_TIMESTAMP", 0)) // 1000,
        "priority": int(_text(raw.get("PRIORITY", "6"))),
        "message": _text(raw.get("MESSAGE", "")),
        "fields": {key: _text(value) for key, value in own.items()},
    }


def _text(value: Any) -> str:
    """Return a field of the journal as text, the last one where it is there more than once.

    What is no printable UTF-8 comes as an array of bytes, and what is too long as null (systemd.journal-fields(7),
    and journalctl(1) on ``--output=json``).
    """
    match value:
        case [*_, str() | list() | None as last]:
            return _text(last)
        case list():
            return bytes(value).decode("utf-8", "replace")
        case None:
            return ""
    return str(value)


_OTHERS = frozenset({"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "SYSLOG_FACILITY", "SYSLOG_PID", "SYSLOG_RAW"})


def _explained(error: process.ProgramFailed, verb: str, unit: str) -> Exception:
    said = str(error.details.get("stderr", ""))
    if "ccess denied" in said or "authentication required" in said:
        return NotPermitted(f"you may not {verb} {unit}", hint="as root, or your own with make install-user")
    if "not found" in said or "not loaded" in said:
        return NotFound(f"{unit} is not installed", hint="make install, or make install-user")
    if "connect to bus" in said:
        return NoManager(
            f"no systemd answers here: {said.strip().splitlines()[-1]}", hint="systemctl is-system-running"
        )
    error.hint = f"systemctl status {unit}"
    return error


def in_user_manager(mode: str, name: str) -> bool:
    """Say whether the units of ``name`` are the user's: by the setting, else if not root and there are no others."""
    if mode != "auto":
        return mode == "user"
    if os.geteuid() == 0:
        return False
    return not any(os.path.exists(f"{place}/{name}.socket") for place in _PLACES)  # noqa: PTH110
