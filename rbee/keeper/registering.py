"""rbee-keeper pool register and remove: a host becomes a pool of the queen, and stops being one."""

import asyncio
import contextlib
import dataclasses
import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rbee import config
from rbee.adapters import toml_file
from rbee.adapters.addresses import address_towards, is_own, only_here
from rbee.adapters.ssh import Remote
from rbee.adapters.ssh.pool import HIVE, SshPool
from rbee.cli.confirm import confirm, dry_run
from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.client.queen import QueenClient
from rbee.client.reigning import addresses
from rbee.config import Settings
from rbee.errors import ConfigInvalid, Conflict, InvalidRequest, NotFound, RbeeError, Timeout, Unauthorized
from rbee.keeper.hosts import ALL
from rbee.keeper.known import is_there, show_pool
from rbee.keeper.reach import pool_at, reached
from rbee.keeper.settings import settings_of
from rbee.wire import codec
from rbee.wire.fields import NAME
from rbee.wire.pools import PoolRegistration, PoolStatus

POOL_PORT = 9200
JOIN_S = 60.0
APPEAR_S = 30.0
_LOOK_S = 0.2


async def register_pool(args: Args, output: Output) -> None:
    """Make a host a pool, over ssh; with ``--url`` only tell the queen of one that is there already."""
    if args["--url"] and not args["--ssh"]:
        return await _announce(args, output)
    return await _enlist(args, output)


async def _announce(args: Args, output: Output) -> None:
    """Make a pool known before it calls by itself. Who it is has to be asked of it: an id belongs to one host.

    Raises:
        PoolUnreachable: nobody answers at the URL.
        Conflict: another pool does.
    """
    pool, url = args["<pool>"], args["--url"]
    if dry_run(args, output, f"register {pool} at {url}"):
        return
    async with pool_at(args, url) as there:
        found = await there.get_state()
    if found.id != pool:
        raise Conflict(
            f"the pool at {url} is {found.id}, not {pool}", hint=f"rbee pool register {found.id} --url {url}"
        )
    async with reached(args) as queen:
        show_pool(await queen.register_pool(pool, _registration(found.instance, url, found.version)), output)


async def _enlist(args: Args, output: Output) -> None:
    """Look at the host, give it the token and the addresses, write it down here, and see it appear at the queen.

    Each step does nothing where it was done before. What is wrong is found before anything is changed.

    Raises:
        RbeeError: ssh's failures; ConfigInvalid without a token; PoolUnreachable when one cannot reach the other.
    """
    name, settings = args["<pool>"], settings_of(args)
    if not NAME.fullmatch(name):
        raise InvalidRequest(f"host name is {name[:80]!r}, expected it to match {NAME.pattern}")
    if name == ALL:
        raise InvalidRequest(f"{ALL} is what --host calls every host", hint="another name, and --ssh TARGET")
    file = config_file(settings)
    known = settings.hosts.get(name, config.Host())
    target = args["--ssh"] or known.ssh or name
    if target.startswith("-"):
        raise InvalidRequest(f"--ssh is {target[:80]!r}, which ssh would take for an option")
    remote = Remote.to(name, target, sudo=known.sudo or bool(args["--sudo"]), environ=os.environ)
    tokens = config.read_token(settings.keeper.token_file, environ=os.environ)
    if not tokens:
        raise ConfigInvalid("there is no token to give to it", hint="rbee-keeper token new --output /etc/rbee/token")
    if dry_run(args, output, f"make {name} ({target}) a pool, and write [hosts.{name}] to {file}"):
        return
    toml_file.require_writable(file)
    _say(output, f"looking at {name}")
    state = await SshPool(remote).get_state()
    here, there = _for_others(*await _addresses(remote), settings)
    queen_url = args["--queen"] or ",".join(_seen_from_there(each, here) for each in addresses(settings.keeper.queen))
    if queen_url != (args["--queen"] or ",".join(addresses(settings.keeper.queen))) and not is_own(here):
        raise InvalidRequest(
            f"{name} sees us at {here}, which is no address of this machine: a jump host's, or that of a NAT",
            hint=f"rbee-keeper pool register {name} --queen http://{address_towards([]) or 'ADDRESS'}:8080",
        )
    url = args["--url"] or f"{_scheme(state.url)}://{_bracketed(there)}:{POOL_PORT}"
    _require_new(name, url, settings)
    _say(output, f"{name} is pool {state.id}, version {state.version}; it will call the queen at {queen_url}")
    async with reached(args) as queen:
        await queen.version()
        await _join(remote, queen_url, url, f"{_bracketed(there)}:{urlsplit(url).port or POOL_PORT}", tokens)
        changed = toml_file.change(file, _host_table(name, known, target, remote.sudo, url))
        _say(output, f"{file} has [hosts.{name}]" + ("" if changed else " already"))
        await queen.register_pool(state.id, _registration(state.instance, url, state.version))
        show_pool(await _appeared(queen, state.id, name), output)


async def remove_pool(args: Args, output: Output) -> int | None:
    """Undo ``register``: at the host, at the queen, and in the configuration here. Whoever is away hinders nobody."""
    name, settings = args["<pool>"], settings_of(args)
    known = settings.hosts.get(name)
    async with reached(args) as queen:
        if known is None:
            await queen.get_pool(name)
        if not confirm(args, output, f"remove pool {name}"):
            return None
        problem: RbeeError | None = None
        pool = name
        if known is not None:
            remote = Remote.to(name, known.ssh, sudo=known.sudo, environ=os.environ)
            try:
                pool = (await SshPool(remote).get_state()).id
                await remote.run([HIVE, "leave", "--yes", "--format=json"], timeout_s=JOIN_S)
            except RbeeError as error:
                problem = error
        forgotten = await _forget(queen, pool)
    if known is not None:
        toml_file.change(config_file(settings), {("hosts", name): None})
    if problem is not None:
        output.say(f"{name} itself was not told: {problem.message}; it still has the token, and calls when it is back")
        output.say("hint: rbee-hive leave, there; or another token for all others: rbee-keeper token new")
    if forgotten is not None:
        output.say(f"the queen was not told: {forgotten.message}; she lists {pool} as lost")
        output.say(f"hint: rbee-keeper pool remove {pool}, when she is back")
    output.done(f"{name} removed", id=name)
    return next((error.exit_code for error in (problem, forgotten) if error is not None), None)


async def _forget(queen: QueenClient, pool: str) -> RbeeError | None:
    """Have the queen forget a pool; return why she did not. One that she does not know is forgotten."""
    try:
        await queen.remove_pool(pool)
    except NotFound:
        return None
    except RbeeError as error:
        return error
    return None


def config_file(settings: Settings) -> Path:
    """Return the file that has, or will have, the hosts.

    Raises:
        NotPermitted: it is not ours to write.
    """
    return Path(settings.file) if settings.file else config.own_file(os.environ)


async def _addresses(remote: Remote) -> tuple[str, str]:
    """Return our address and the host's, as the ssh connection between us has them."""
    plain = dataclasses.replace(remote, sudo=False)  # sudo takes the variable away
    said = (await plain.run(["sh", "-c", "echo $SSH_CONNECTION"])).stdout.split()
    if len(said) != 4:
        raise InvalidRequest(f"{remote.name} does not say by what addresses it is reached", hint="--url and --queen")
    return said[0], said[2]


def _for_others(here: str, there: str, settings: Settings) -> tuple[str, str]:
    """Return our address and the host's as other hosts have them: this machine's own name may mean loopback here."""
    if not only_here(there):
        return here, there
    others = (urlsplit(known.pool).hostname or "" for known in settings.hosts.values() if known.pool)
    own = address_towards(host for host in others if not is_own(host))
    return (own, own) if own else (here, there)


def _seen_from_there(queen: str, here: str) -> str:
    """Return the queen's URL for a host that reaches us at ``here``: her loopback is ours, not theirs."""
    parts = urlsplit(queen)
    if not only_here(parts.hostname or ""):
        return queen
    return f"{parts.scheme}://{_bracketed(here)}:{parts.port or 80}"


def _require_new(name: str, url: str, settings: Settings) -> None:
    """Refuse a second name for a host: whatever is done on all of them would be done twice there."""
    for other, known in settings.hosts.items():
        if other != name and known.pool == url:
            raise Conflict(
                f"{name} is the pool at {url}, which is [hosts.{other}] already",
                hint=f"rbee-keeper pool register {other}; or pool remove {other} first",
            )


async def _join(remote: Remote, queen: str, url: str, listen: str, tokens: tuple[str, ...]) -> None:
    """Have the host join. Tokens go through ssh's standard input, where no process list and no log shows them."""
    argv = [HIVE, "join", f"--queen={queen}", f"--url={url}", f"--listen={listen}", "--format=json"]
    done = await remote.run(argv, input=("\n".join(tokens) + "\n").encode(), timeout_s=JOIN_S, check=False)
    if done.returncode != 0:
        error = SshPool(remote).refusal(done)
        if "from this host" in error.message:
            error.message = error.message.replace("from this host", f"from {remote.name}")
            error.hint = (
                f"another queen answers there, it seems: rbee-keeper pool register {remote.name} --queen http://HOST:8080"
                if isinstance(error, Unauthorized)
                else f"rbee-keeper orchestrator listen {urlsplit(queen).port}; is a firewall between them?"
            )
        raise error


async def _appeared(queen: QueenClient, pool: str, name: str) -> PoolStatus:
    """Return the pool when the queen has heard from it: from its daemon of now, not what the one before said last."""
    deadline = time.monotonic() + APPEAR_S
    while time.monotonic() < deadline:
        with contextlib.suppress(NotFound):
            found = await queen.get_pool(pool)
            if is_there(found):
                return found
        await asyncio.sleep(_LOOK_S)
    raise Timeout(
        f"{name} joined, but the queen has not heard from it within {APPEAR_S:g} s",
        hint=f"rbee-keeper pool logs --host {name}",
    )


def _host_table(name: str, known: config.Host, target: str, sudo: bool, url: str) -> dict[tuple[str, ...], Any]:
    """Return what [hosts.NAME] is to say, by where it stands; None: nothing, whatever it says now."""
    wanted: dict[tuple[str, ...], Any] = {("hosts", name, "pool"): url}
    if target != (known.ssh or name):
        wanted[("hosts", name, "ssh")] = target if target != name else None
    if sudo:
        wanted[("hosts", name, "sudo")] = True
    return wanted


def _registration(instance: str, url: str, version: str) -> PoolRegistration:
    return codec.from_dict(PoolRegistration, {"instance": instance, "url": url, "version": version})


def _scheme(url: str) -> str:
    return urlsplit(url).scheme or "http"


def _bracketed(ip: str) -> str:
    return f"[{ip}]" if ":" in ip else ip


def _say(output: Output, sentence: str) -> None:
    if not output.as_json:
        output.say(sentence)
