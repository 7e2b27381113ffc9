"""start, stop, restart, status and logs of a daemon: systemctl and journalctl in the right manager."""

import json
import os
from collections.abc import Sequence
from typing import Any

from rbee.adapters import process
from rbee.cli.confirm import dry_run
from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.errors import NotFound, NotPermitted, RbeeError

CONTROL_S = 120.0
_SHOWN = "LoadState,ActiveState,SubState,StatusText,ActiveEnterTimestamp,MainPID,NRestarts,Result,MemoryCurrent"


class NoManager(RbeeError):
    """No systemd manager runs here, or none that answers us."""

    exit_code = os.EX_UNAVAILABLE


class Service:
    """A daemon's pair of units, ``rbee-pool`` or ``rbee-queen``, in the system's manager or the user's."""

    def __init__(self, name: str, *, user: bool) -> None:
        self.name = name
        self._scope = ["--user"] if user else []

    async def start(self, args: Args, output: Output) -> None:
        if dry_run(args, output, f"start {self.name}"):
            return
        await self._control("start", f"{self.name}.socket", f"{self.name}.service")
        output.done(f"{self.name} started", id=self.name)

    async def stop(self, args: Args, output: Output) -> None:
        """The socket goes first, or the next connection would start the service again."""
        if dry_run(args, output, f"stop {self.name}"):
            return
        await self._control("stop", f"{self.name}.socket", f"{self.name}.service")
        output.done(f"{self.name} stopped", id=self.name)

    async def restart(self, args: Args, output: Output) -> None:
        """The socket stays: no connection is refused."""
        if dry_run(args, output, f"restart {self.name}"):
            return
        await self._control("restart", f"{self.name}.service")
        output.done(f"{self.name} restarted", id=self.name)

    async def status(self, _: Args, output: Output) -> None:
        service, socket = await self._show(f"{self.name}.service"), await self._show(f"{self.name}.socket")
        if socket["LoadState"] == "not-found":
            raise NotFound(f"{self.name}.socket is not installed", hint="make install, or make install-user")
        facts = {
            "id": self.name,
            "state": service["ActiveState"],
            "sub_state": service["SubState"],
            "socket": socket["ActiveState"],
            "since": service["ActiveEnterTimestamp"],
            "pid": int(service["MainPID"]) or None,
            "restarts": int(service["NRestarts"]),
            "status": service["StatusText"],
        }
        shown = {**facts, "state": f"{facts['state']} ({facts['sub_state']})"}
        del shown["id"], shown["sub_state"]
        output.facts(facts, {"service": self.name, **shown})

    async def logs(self, args: Args, output: Output) -> None:
        """Show its part of the journal; ``--follow`` goes on until interrupted."""
        follow = ["--follow"] if args.get("--follow") else []
        form = ["--output=json"] if output.as_json else ["--output=short-iso"]
        lines = ["--lines", args.get("--lines") or "100"]
        unit = ["--user-unit" if self._scope else "--unit", f"{self.name}.service"]
        argv = ["journalctl", "--no-pager", "--quiet", *self._scope, *unit, *lines, *form, *follow]
        await show_journal(argv, output, follow=bool(follow))

    async def _show(self, unit: str) -> dict[str, str]:
        done = await self._systemctl("show", "-p", _SHOWN, unit)
        found = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
        return {
            key: found.get(key, "") or ("0" if key in ("MainPID", "NRestarts") else "") for key in _SHOWN.split(",")
        }

    async def _control(self, verb: str, *units: str) -> None:
        await self._systemctl(verb, *units)

    async def _systemctl(self, verb: str, *arguments: str) -> process.Completed:
        try:
            argv = ["systemctl", "--no-ask-password", *self._scope, verb, *arguments]
            return await process.run(argv, timeout_s=CONTROL_S)
        except process.ProgramFailed as error:
            raise _explained(error, verb, arguments[-1]) from None


async def show_journal(argv: Sequence[str], output: Output, *, follow: bool) -> None:
    """Print what journalctl prints; as JSON one array, or one document a line when following."""
    entries: list[Any] = []
    async for line in process.lines(argv):
        if output.as_json and not follow:
            entries.append(_entry(json.loads(line)))
        elif output.as_json:
            output.text(json.dumps(_entry(json.loads(line))) + "\n")
        else:
            output.text(line + "\n")
    if output.as_json and not follow:
        output.table(entries, [], none="")


def _entry(raw: dict[str, Any]) -> dict[str, Any]:
    """Keep what a reader wants of a journal entry: when, how loud, what, and our own fields."""
    own = {key.lower(): value for key, value in raw.items() if key.isupper() and key[0] != "_" and key not in _OTHERS}
    return {
        "id": raw.get("__CURSOR", ""),
        "at_ms": int(raw.get("__REALTIME_TIMESTAMP", 0)) // 1000,
        "priority": int(raw.get("PRIORITY", 6)),
        "message": raw.get("MESSAGE", ""),
        "fields": own,
    }


_OTHERS = frozenset({"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "SYSLOG_FACILITY", "SYSLOG_PID", "SYSLOG_RAW"})


def _explained(error: process.ProgramFailed, verb: str, unit: str) -> Exception:
    said = str(error.details.get("stderr", ""))
    if "ccess denied" in said or "authentication required" in said:
        return NotPermitted(f"you may not {verb} {unit}", hint="sudo, or your own with make install-user")
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
    places = ("/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
    return not any(os.path.exists(f"{place}/{name}.socket") for place in places)  # noqa: PTH110
