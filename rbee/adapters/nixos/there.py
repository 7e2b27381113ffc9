"""A NixOS host: what runs there, and how it is switched without nixos-rebuild."""

import re
from dataclasses import dataclass

from rbee.adapters import process
from rbee.adapters.nixos import argv
from rbee.adapters.nixos.argv import PROFILE, SWITCH_UNIT
from rbee.adapters.process import ProgramFailed
from rbee.adapters.ssh import Remote
from rbee.adapters.ssh.remote import by_hand
from rbee.errors import Conflict, NotFound

RUNNING = "/run/current-system"
STORE = "/nix/store/"
SET_S = 300.0
_GENERATION = re.compile(r"system-(\d+)-link")
_BUSY = ("active", "activating", "reloading", "deactivating")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a host runs, and what it boots next: paths in the store."""

    running: str
    profile: str

    @property
    def settled(self) -> str:
        """The system that it runs and boots; empty when those are two."""
        return self.running if self.running == self.profile else ""


async def standing(remote: Remote) -> Standing:
    """Return what the host runs.

    Raises:
        NotFound: it is no NixOS.
    """
    done = await remote.run(["readlink", "-f", RUNNING, PROFILE], check=False)
    paths = done.stdout.split()
    if len(paths) != 2 or not paths[0].startswith(STORE):
        raise NotFound(
            f"{remote.name} is no NixOS host: {RUNNING} leads nowhere",
            hint="rbee-keeper pool rollout deploys to others",
        )
    return Standing(running=paths[0], profile=paths[1])


async def previous(remote: Remote) -> str:
    """Return the generation that a rollback would go to, if it is the one just before; else nothing."""
    link = await remote.run(["readlink", PROFILE], check=False)
    if (found := _GENERATION.search(link.stdout)) is None:
        return ""
    before = await remote.run(["readlink", "-f", f"{PROFILE}-{int(found[1]) - 1}-link"], check=False)
    path = before.stdout.strip()
    return path if path.startswith(STORE) else ""


async def require_still(remote: Remote) -> None:
    """Refuse a host that is being switched at this moment, by whomever.

    Raises:
        Conflict: names the unit.
    """
    states = f"--state={','.join(_BUSY)}"
    listed = await remote.run(["systemctl", "list-units", "--plain", "--no-legend", states, f"{SWITCH_UNIT}*.service"])
    units = [line.split()[0] for line in listed.stdout.splitlines() if line.strip()]
    if units:
        raise Conflict(
            f"{remote.name} is being switched already: {units[0]} runs there",
            hint=f"wait for its end: {by_hand(remote.target, 'journalctl', '-fu', units[0])}",
        )


async def activate(remote: Remote, action: argv.Action, path: str, tell: process.Tell) -> None:
    """Switch the host to ``path``, which is in its store.

    Raises:
        ProgramFailed: with how it ended; what it said was told.
    """
    if action == "switch":
        await remote.run(argv.set_profile(path), timeout_s=SET_S)
    code = await remote.passed_through(argv.activate(action, path), tell)
    if code:
        raise ProgramFailed(
            f"switch-to-configuration {action} exited {code}", details={"path": path, "returncode": code}
        )
