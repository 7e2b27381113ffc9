"""The hosts a command is for: those of [hosts.*] that ``--host`` names."""

import contextlib
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rbee.adapters.ssh import Remote
from rbee.cli.run import Args
from rbee.cli.services import Service
from rbee.cli.units import parse_seconds
from rbee.config import Settings
from rbee.errors import InvalidRequest, NotFound
from rbee.keeper.settings import settings_of

if TYPE_CHECKING:
    from rbee.pool_core.ops import PoolOps

ALL = "all"
POOL_SERVICE = "rbee-pool"
_THERE = re.compile(r"rbee-hive ((?:models|worker|git|gpu) [a-z]+|drain|undrain|sync)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host of the configuration, by the ways there are to it. ``pool`` is its pool-managerd's URL, or empty."""

    name: str
    remote: Remote
    pool: str

    def service(self, name: str = POOL_SERVICE) -> Service:
        """Return a daemon of that host, steered by systemctl over ssh."""
        return Service(name, user=None, programs=self.remote)

    @contextlib.asynccontextmanager
    async def reached(self, args: Args) -> "AsyncIterator[PoolOps]":
        """Give its pool: rbee-hive over ssh, or with ``--http`` its daemon.

        Raises:
            InvalidRequest: ``--http``, and nobody said where its daemon listens.
        """
        timeout_s = parse_seconds(args["--timeout"], "--timeout")
        if not args.get("--http"):
            from rbee.adapters.ssh.pool import SshPool  # noqa: PLC0415  (systemctl and exec do without)

            yield SshPool(self.remote, timeout_s=timeout_s)
            return
        if not self.pool:
            raise InvalidRequest(
                f"nobody said where the pool of {self.name} listens",
                hint=f"[hosts.{self.name}] pool, or without --http",
            )
        from rbee.keeper.reach import pool_at  # noqa: PLC0415  (HTTP is 0.1 s that ssh has no need of)

        async with pool_at(args, self.pool, f"pool {self.name}") as pool:
            yield pool


def from_here(hint: str, name: str) -> str:
    """Return what a host advises its own people as a person at the keeper types it."""
    if hint.startswith("ssh "):
        return hint  # it goes there by itself
    if hint.startswith("sudo "):
        return f"on {name}: {hint}"  # what rbee may not do from here either
    return _THERE.sub(rf"rbee-keeper pool \1 --host {name}", hint).replace(
        "rbee-hive status", f"rbee-keeper pool state --host {name}"
    )


def chosen(args: Args) -> list[Host]:
    """Return the hosts that ``--host`` names, each once, in the order given; ``all`` are those of the configuration.

    Raises:
        NotFound: there is no such host, or none at all.
    """
    settings = settings_of(args)
    names: dict[str, None] = {}
    for name in args["--host"]:
        names |= dict.fromkeys(settings.hosts) if name == ALL else {name: None}
    if not names:
        raise NotFound("no hosts are known", hint="rbee-keeper pool register HOST")
    return [host(settings, name) for name in names]


def named(args: Args) -> str:
    """Return the hosts that ``--host`` names as a sentence has them; raises as ``chosen``."""
    return ", ".join(host.name for host in chosen(args))


def host(settings: Settings, name: str) -> Host:
    """Return one host of the configuration.

    Raises:
        NotFound: it is not there; names those that are.
    """
    known = settings.hosts.get(name)
    if known is None:
        there = ", ".join(settings.hosts) or "none"
        where = settings.file or "the configuration"
        raise NotFound(
            f"no host {name[:80]!r} in {where}; there are: {there}",
            hint="rbee-keeper pool register HOST",
            details={"hosts": list(settings.hosts)},
        )
    remote = Remote.to(name, known.ssh, sudo=known.sudo, environ=os.environ)
    return Host(name=name, remote=remote, pool=known.pool)
