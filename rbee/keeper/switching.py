"""The change that a deploy makes: a host is switched to its NixOS configuration."""

import shlex

from rbee.adapters.nixos import argv, here, there
from rbee.adapters.nixos.argv import Target
from rbee.adapters.nixos.flake import Flake
from rbee.errors import RbeeError
from rbee.keeper.change import Say
from rbee.keeper.hosts import Host
from rbee.keeper.rollout_plan import Deployment


class NotSwitched(RbeeError):
    """The host runs another system than the one that was deployed."""


class Switch:
    """``nixos-rebuild switch``, or where there is none the four steps that it consists of.

    All that takes long, building and copying, is done by a rehearsal while the host still works: it ends with the list
    of what the switch will restart.
    """

    doing = "switching"

    def __init__(self, deployment: Deployment) -> None:
        self.flake = Flake(url=deployment.flake, attribute=deployment.attribute)
        self.takes_back = deployment.auto_rollback
        self._build_host = deployment.build_host
        self._rebuilds = here.have_rebuild()
        self._wanted: dict[str, str] = {}

    async def wanted(self, host: Host) -> str:
        """Return the system that the host is to run. It is evaluated once."""
        if host.name not in self._wanted:
            self._wanted[host.name] = await here.toplevel(self.flake, host.name)
        return self._wanted[host.name]

    async def look(self, host: Host) -> str:
        return (await there.standing(host.remote)).running

    async def prepare(self, host: Host, say: Say) -> str:
        await there.require_still(host.remote)
        say(f"evaluating {self.flake.of(host.name)}: which system it is")
        wanted = await self.wanted(host)
        if not self._rebuilds:
            await here.told(argv.build(self.flake, host.name), _target(host), lambda line, _: say(line))
            await here.told(argv.copy(wanted, _target(host)), _target(host), lambda line, _: say(line))
        await self._activated(host, "dry-activate", say)
        return f"has {wanted}, and is not switched to it yet"

    async def make(self, host: Host, say: Say) -> None:
        await there.require_still(host.remote)
        await self._activated(host, "switch", say)

    async def _activated(self, host: Host, action: argv.Action, say: Say) -> None:
        target = _target(host)
        if self._rebuilds:
            words = argv.rebuild(action, self.flake, host.name, target, build_host=self._build_host)
            await here.told(words, target, lambda line, _: say(line))
        else:
            await there.activate(host.remote, action, await self.wanted(host), lambda line, _: say(line))

    async def require_made(self, host: Host) -> None:
        wanted, found = await self.wanted(host), await there.standing(host.remote)
        if found.settled != wanted:
            boots = "" if found.settled else f" and boots {found.profile}"
            raise NotSwitched(
                f"expected {wanted}, and it runs {found.running}{boots}",
                hint=f"ssh {host.remote.target} journalctl -u '{argv.SWITCH_UNIT}*'",
                details={"expected": wanted, "running": found.running, "profile": found.profile},
            )

    async def way_back(self, host: Host, before: str) -> str:
        """The short way where that leads there."""
        try:
            if (await there.standing(host.remote)).settled == before:
                return ""
            target = _target(host)
            if self._rebuilds and not target.port and await there.previous(host.remote) == before:
                return shlex.join(argv.rollback(target))
        except RbeeError:
            pass  # whoever types it finds out whether the host is there again
        return typed(host, before)

    async def take_back(self, host: Host, before: str, say: Say) -> None:
        await there.require_still(host.remote)  # or what somebody else's switch makes of it would be given work
        if (await there.standing(host.remote)).settled != before:
            await there.activate(host.remote, "switch", before, lambda line, _: say(line))


def typed(host: Host, path: str) -> str:
    """Return what a person types to have the host run ``path``."""
    return argv.by_hand(path, host.remote.target, sudo=host.remote.sudo)


def _target(host: Host) -> Target:
    return Target.of(host.remote.target, sudo=host.remote.sudo)
