"""What the survey said of a host, and the questions that checks ask of it."""

import base64
import json
import shlex
from collections.abc import Iterable, Mapping
from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any

from rbee.verify.unmet import does_not_apply

if TYPE_CHECKING:
    from rbee.verify.host import Host

POOL, QUEEN, BROKER = "rbee-pool", "rbee-queen", "rbee-broker"
# rbee's own Python: named in the first line of its commands, or of what a wrapper starts (Nix has .rbee-hive-wrapped),
# or beside them.
FIND_PYTHON = (
    'hive=$(command -v rbee-hive || echo "$HOME/.local/bin/rbee-hive"); hive=$(readlink -f "$hive" 2>/dev/null); '
    'bin=$(dirname "${hive:-/}"); for at in "$hive" "$bin/.rbee-hive-wrapped"; do '
    'python=$(head -n 1 "$at" 2>/dev/null | tr -d "\\0" | sed -n "s/^#! *\\([^ ]*python[^ ]*\\).*/\\1/p"); '
    '[ -x "$python" ] && break; done; '
    '[ -x "$python" ] || python=$bin/python; [ -x "$python" ] || python=python3; '
)


class Unreachable(Exception):
    """ssh did not get there; the sentence is ssh's."""


class Facts:
    """One host as it was when it was asked. ``said`` is the survey's answer."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        self.said = said

    def __getitem__(self, name: str) -> Any:
        """Return a fact; the check ends as one that does not apply when rbee's settings could not be read."""
        if name not in self.said:
            does_not_apply("rbee on this host cannot read its settings: see system.rbee_settings")
        return self.said[name]

    # Which host this is

    @property
    def systemctl(self) -> str:
        return "systemctl --user" if self.said["mode"] == "user" else "systemctl"

    def system_mode_only(self) -> None:
        if self.said["mode"] == "user":
            does_not_apply(
                f"rbee runs in the user manager of {self.said['login']}: no user, broker or token of its own"
            )

    def root_only(self) -> None:
        if not self.said["root"]:
            does_not_apply(f"{self.said['login']} may not see this: log in as root, or give --sudo")

    def queen_only(self) -> None:
        if not self.has_queen:
            does_not_apply("no queen on this host: rbee-queen.socket is neither enabled nor active")

    @cached_property
    def has_queen(self) -> bool:
        socket = self.unit("rbee-queen.socket")
        return socket.get("UnitFileState") == "enabled" or socket.get("ActiveState") == "active"

    @property
    def programs(self) -> tuple[str, ...]:
        """The daemons this host should have."""
        broker = () if self.said["mode"] == "user" else (BROKER,)
        return (POOL, *broker, *((QUEEN,) if self.has_queen else ()))

    # Units and processes

    def unit(self, name: str) -> Mapping[str, str]:
        found: Mapping[str, str] = self.said["units"].get(name, {})
        return found

    def units(self, *kinds: str) -> tuple[str, ...]:
        """Return the names of the units this host should have, of these kinds."""
        return tuple(f"{program}.{kind}" for program in self.programs for kind in kinds)

    def active(self, unit: str) -> bool:
        return self.unit(unit).get("ActiveState") == "active"

    def wrong(self, names: Iterable[str], prop: str, expected: str) -> dict[str, str]:
        """Return the units whose property is another, with what it is."""
        shown = {name: self.unit(name).get(prop, "") for name in names}
        return {name: value for name, value in shown.items() if value != expected}

    def needs_socket(self, program: str) -> None:
        """End a check that stands on a socket which another check names as broken."""
        if not self.active(f"{program}.socket"):
            does_not_apply(
                f"{program}.socket is not active: see sockets.{program.removeprefix('rbee-')}_socket_is_active"
            )

    def daemons(self) -> Mapping[str, Mapping[str, Any]]:
        """Return rbee's daemons that run, each with what its process says."""
        found = self._running(f"{program}.service" for program in self.programs)
        if not found:
            does_not_apply("no daemon of rbee runs now: they start when they are asked")
        return found

    def workers(self) -> Mapping[str, Mapping[str, Any]]:
        found = self._running(self.said["workers"])
        if not found:
            does_not_apply("no worker runs on this host now")
        return found

    def _running(self, names: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        return {name: self.said["processes"][name] for name in names if name in self.said["processes"]}

    def path(self, name: str) -> Mapping[str, Any]:
        """Return mode and owner of a path; the check ends when this user may not see it."""
        found: Mapping[str, Any] = self.said["paths"].get(name, {"missing": True})
        if "denied" in found:
            self.root_only()
        return found


def command() -> str:
    """Return what a shell on a host is given to run the survey there."""
    source = base64.b64encode(resources.files("rbee.verify").joinpath("survey.py").read_bytes()).decode()
    program = f"import base64; exec(compile(base64.b64decode('{source}'), 'survey', 'exec'))"
    return f'{FIND_PYTHON} exec "$python" -c {shlex.quote(program)}'


def look(host: "Host") -> Facts:
    """Ask ``host`` once for everything.

    Raises:
        Unreachable: ssh did not get there.
        LookupError: it has no Python that could be asked.
    """
    try:
        done = host.run("sh -c %s", command())
    except RuntimeError as error:
        raise Unreachable(_complaint(error)) from None
    if done.rc != 0:
        raise LookupError(f"the survey could not be run there: {_last(done.stderr) or f'exit {done.rc}'}")
    return Facts(json.loads(done.stdout))


def _complaint(error: RuntimeError) -> str:
    """Return what ssh said, out of what testinfra made of it."""
    done = error.args[0] if error.args else None
    return _last(getattr(done, "stderr", "")) or "ssh failed without a word"


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
