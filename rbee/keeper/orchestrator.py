"""rbee-keeper orchestrator …: queen-rbee's units on this machine, or on another by ssh."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rbee import config
from rbee.adapters import toml_file
from rbee.adapters.addresses import is_own, only_here, same_machine
from rbee.adapters.notify import split_address
from rbee.cli.confirm import dry_run
from rbee.cli.listening import LOOPBACK, Listening, is_loopback, local, user_config
from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.cli.services import Service, ServiceState, in_user_manager, shown
from rbee.client.queen import QueenClient
from rbee.client.reigning import addresses
from rbee.errors import ConfigInvalid, RbeeError
from rbee.keeper.hosts import host
from rbee.keeper.reach import http_to
from rbee.keeper.registering import config_file
from rbee.keeper.settings import settings_of
from rbee.wire import codec
from rbee.wire.jobs import JobQuery, JobState, JobStatus
from rbee.wire.pools import PoolStatus
from rbee.wire.words import counted

NAME = "rbee-queen"
_QUEUE_MOST = 1000
_ALONE = "she listens on loopback only, so more can be asked only there; rbee-keeper orchestrator listen 8080"


@dataclass(frozen=True, slots=True, kw_only=True)
class Orchestrator:
    """What there is to know of a queen on one screen: her units, and, when she answers, herself."""

    unit: ServiceState
    url: str
    version: str | None = None
    queued: int | None = None
    running: int | None = None
    pools: tuple[PoolStatus, ...] = ()
    problem: str = ""


def _service(args: Args) -> Service:
    name, settings = args["--host"], settings_of(args)
    if name is None:
        return Service(NAME, user=in_user_manager(settings.pool.mode, NAME))
    return host(settings, name).service(NAME)


async def start(args: Args, output: Output) -> None:
    await _service(args).start(args, output)


async def stop(args: Args, output: Output) -> None:
    await _service(args).stop(args, output)


async def restart(args: Args, output: Output) -> None:
    await _service(args).restart(args, output)


async def logs(args: Args, output: Output) -> None:
    await _service(args).logs(args, output)


async def status(args: Args, output: Output) -> int | None:
    """Show systemd's view, and the queen's own; one that does not answer is said, and exits with its code."""
    unit = await _service(args).state()
    url = asked_at(settings_of(args), args["--host"], unit.listens)
    if unit.state != "active" and unit.socket != "active":
        found, code = Orchestrator(unit=unit, url=url, problem="she is stopped, and no socket wakes her"), 0
    elif not url:
        found, code = Orchestrator(unit=unit, url=url, problem=_ALONE), 0
    else:
        found, code = await _asked(args, unit, url)
    document = codec.plain(found)
    output.facts({**document.pop("unit"), **document}, _shown(found))
    return code


async def _asked(args: Args, unit: ServiceState, url: str) -> tuple[Orchestrator, int]:
    async with http_to(args, url, "queen") as http:
        queen = QueenClient(http)
        try:
            version, queued, running, pools = await asyncio.gather(
                queen.version(), _jobs(queen, JobState.QUEUED), _jobs(queen, JobState.RUNNING), queen.list_pools()
            )
        except RbeeError as error:
            return Orchestrator(unit=unit, url=url, problem=error.message), error.exit_code
    unit = await _service(args).state() if unit.state != "active" else unit  # asking has woken her
    return Orchestrator(
        unit=unit, url=url, version=version.version, queued=len(queued), running=len(running), pools=pools
    ), 0


async def _jobs(queen: QueenClient, state: JobState) -> tuple[JobStatus, ...]:
    return await queen.list_jobs(codec.from_dict(JobQuery, {"state": state.value, "limit": _QUEUE_MOST}))


def asked_at(settings: config.Settings, name: str | None, listens: Sequence[str]) -> str:
    """Return the URL of the queen whose socket listens at ``listens``: as configured, when that leads to her.

    Args:
        name: the host she is on; None for this machine.

    Returns:
        Nothing when she cannot be reached from here.
    """
    first = addresses(settings.keeper.queen)[0]
    configured = urlsplit(first)
    there = "127.0.0.1" if name is None else _address(settings.hosts[name], name)
    for listen in listens:
        host, port = split_address(listen)
        if name is not None and is_loopback(listen):
            continue
        found = there if only_here(host) else host
        if port == configured.port and _leads_to(configured.hostname or "", found, here=name is None):
            return first
        return f"{configured.scheme}://{f'[{found}]' if ':' in found else found}:{port}"
    return "" if listens else first


def _address(known: config.Host, name: str) -> str:
    target = known.ssh or name
    by_ssh = urlsplit(target).hostname if "://" in target else target.rpartition("@")[2]
    return (urlsplit(known.pool).hostname if known.pool else None) or by_ssh or name


def _leads_to(configured: str, found: str, *, here: bool) -> bool:
    return (here and is_own(configured)) or (not only_here(configured) and same_machine(configured, found))


def _shown(found: Orchestrator) -> Mapping[str, Any]:
    pools = "\n".join(
        f"{pool.id}  {pool.state.value}, {counted(len(pool.workers), 'worker')}, {pool.url}" for pool in found.pools
    )
    facts = dict(shown(found.unit))
    said = facts.pop("status")
    jobs = None if found.queued is None else f"{found.running} running, {found.queued} queued"
    return {
        **facts,
        "status": said,
        "address": found.url or None,
        "version": found.version,
        "jobs": jobs,
        "pools": pools or ("none; rbee-keeper pool register HOST" if found.version else None),
        "problem": found.problem,
    }


async def listen(args: Args, output: Output) -> None:
    """Let the queen of this machine listen elsewhere: on the network only with a token.

    Raises:
        InvalidRequest: the address is none.
        ConfigInvalid: there is no token.
    """
    settings, wanted = settings_of(args), args["<address>"]
    user = in_user_manager(settings.pool.mode, NAME)
    listening = Listening(NAME, user=user, undo=f"rbee-keeper orchestrator listen {LOOPBACK}", environ=os.environ)
    if wanted == LOOPBACK:
        if not dry_run(args, output, f"let {NAME} listen on loopback again"):
            with listening.alone():
                await listening.listen(None)
                _remember(settings, None)
            output.done(f"{NAME} listens at {', '.join(await listening.at())}", id=NAME)
        return
    address = local(wanted)
    _require_token(settings, address, user_config(user, os.environ))
    if dry_run(args, output, f"let {NAME} listen at {address}"):
        return
    with listening.alone():
        await listening.listen(address)
        _remember(settings, address)
    output.done(f"{NAME} listens at {', '.join(await listening.at())}", id=NAME)


def _require_token(settings: config.Settings, address: str, folder: Path) -> None:
    try:
        tokens = config.read_token(settings.queen.token_file, environ=os.environ)
    except ConfigInvalid:
        tokens = ()
    if not tokens and not is_loopback(address):
        raise ConfigInvalid(
            f"{address} is reachable from the network, but no token is configured",
            hint=f"rbee-keeper token new --output {folder}/token",
        )


def _remember(settings: config.Settings, address: str | None) -> None:
    """Write down where this keeper finds her, when that is not where it looks by itself."""
    queens = addresses(settings.keeper.queen)
    if len(queens) > 1 or (address is not None and address == str(urlsplit(queens[0]).port)):
        return  # found by whatever names or scheme the owner has chosen
    url = _found_at(address, "https" if settings.queen.tls_cert else "http")
    if (url or config.Keeper().queen) != settings.keeper.queen:
        toml_file.change(config_file(settings), {("keeper", "queen"): url})


def _found_at(address: str | None, scheme: str) -> str | None:
    if address is None:
        return None
    host, port = ("", address) if address.isdigit() else split_address(address)
    url = f"{scheme}://{address if host and not only_here(host) else f'127.0.0.1:{port}'}"
    return None if url == config.Keeper().queen else url
