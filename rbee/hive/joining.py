"""rbee-hive join and leave: what makes this host a pool of a queen elsewhere, and what undoes it.

``rbee-keeper pool register`` runs this over ssh, with the fleet's token on standard input.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rbee import config
from rbee.adapters import toml_file
from rbee.adapters.addresses import is_own, leads_here_only
from rbee.adapters.files import permitted, write_whole
from rbee.cli.confirm import confirm, dry_run
from rbee.cli.listening import Listening, checked, local, user_config
from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.cli.services import in_user_manager
from rbee.client.http import HttpClient
from rbee.client.reigning import Reigning, addresses
from rbee.config import Settings
from rbee.errors import ConfigInvalid, InvalidRequest, RbeeError
from rbee.hive.reach import settings_of
from rbee.wire import codec

NAME = "rbee-pool"
_MARK = "joined"  # in the folder of the configuration: what leave has to undo, and what was there before
_TOKEN_BEFORE = "token.before"  # noqa: S105  (a file's name)
_TOKEN_MAX = 4096
_PROBE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What ``join`` and ``leave`` did. ``changed`` names each thing that was not so already."""

    id: str
    queen: str
    url: str
    changed: tuple[str, ...]


async def join(args: Args, output: Output) -> None:
    """Take the fleet's token from standard input, and speak to the queen from now on. Doing it again changes nothing.

    Raises:
        InvalidRequest: no token came, or an address is none.
        PoolUnreachable, Unauthorized: the queen does not answer here, or does not take the token; nothing was changed.
    """
    settings, queen, url = settings_of(args), args["--queen"], args["--url"]
    listen = local(args["--listen"] or _listen(url))
    _require_seen(url, queen)
    token = await asyncio.to_thread(_token)
    if dry_run(args, output, f"join the queen at {queen} as {config.pool_id(settings)}"):
        return
    await _ask_queen(queen, token, settings)
    user = in_user_manager(settings.pool.mode, NAME)
    folder = user_config(user, os.environ)
    listening = Listening(NAME, user=user, undo="rbee-hive leave", environ=os.environ)
    with listening.alone():
        # What was there is remembered before it goes, so that leave undoes half a join, too.
        changed = _write_token(folder, token)
        changed += _write_settings(folder, Path(settings.file or folder / "rbee.toml"), queen, url)
        if listen not in await listening.at():
            listening.move(listen)
            changed.append(f"{NAME}.socket")
        if changed:
            await listening.apply()
        else:
            await listening.restart()
    _show(Joined(id=config.pool_id(settings), queen=queen, url=url, changed=tuple(changed)), output)


async def leave(args: Args, output: Output) -> None:
    """Undo what ``join`` changed, and stop rbee-pool. Workers end with the stop of their slice, not by this."""
    settings = settings_of(args)
    if not confirm(args, output, f"leave the queen at {settings.pool.queen} and stop {NAME}"):
        return
    user = in_user_manager(settings.pool.mode, NAME)
    folder = user_config(user, os.environ)
    listening = Listening(NAME, user=user, undo="rbee-hive leave", environ=os.environ)
    with listening.alone():
        changed = _recalled(folder / _MARK)
        done = [f"{NAME}.socket"] if listening.restore() else []
        file = Path(settings.file or folder / "rbee.toml")
        ours = {tuple(key.split(".")): before for key, before in changed.items() if key.count(".") == 1}
        done += toml_file.change(file, ours) if ours else []
        with permitted(folder):
            if "token" in changed:
                _restore_token(folder)
                done.append("token")
            (folder / _MARK).unlink(missing_ok=True)
        await listening.stop()
    _show(
        Joined(id=config.pool_id(settings), queen=settings.pool.queen, url=settings.pool.url, changed=tuple(done)),
        output,
    )


def _listen(url: str) -> str:
    """Return where to listen to be reached at ``url``; nobody listens at a name."""
    parts = urlsplit(url)
    if not parts.hostname or parts.port is None:
        raise InvalidRequest(f"--url is {url!r}, expected http://host:port")
    try:
        return checked(
            f"[{parts.hostname}]:{parts.port}" if ":" in parts.hostname else f"{parts.hostname}:{parts.port}"
        )
    except InvalidRequest:
        raise InvalidRequest(
            f"--url is {url!r}, and {parts.hostname} is a name; a socket listens at an address",
            hint=f"say that as well: --listen={parts.port} is every address of this host",
        ) from None


def _require_seen(url: str, queen: str) -> None:
    """Refuse a name of ours that only we find: workers would listen where it leads here, and that is loopback."""
    name = urlsplit(url).hostname or ""
    if leads_here_only(name) and not is_own(urlsplit(addresses(queen)[0]).hostname or ""):
        raise InvalidRequest(
            f"--url is {url!r}, but on this host {name} is a loopback address, and the queen is elsewhere",
            hint="name this host by its address: ip -brief address",
        )


def _token() -> str:
    """Return what stands on standard input: the one way a token comes here, since argv and environment can be read."""
    if sys.stdin.isatty():
        raise InvalidRequest("the token is read from standard input", hint="rbee-hive join … < token")
    text = sys.stdin.buffer.read(_TOKEN_MAX).decode("ascii", "replace")
    if not text.split() or any(len(word) < 16 or not word.isprintable() for word in text.split()):
        raise InvalidRequest("standard input holds no token of 16 characters or more", hint="rbee-keeper token new")
    return "\n".join(text.split()) + "\n"


async def _ask_queen(queen: str, token: str, settings: Settings) -> None:
    """Raise unless the queen answers this host, and takes the token."""

    def connect(url: str) -> HttpClient:
        first = token.split(maxsplit=1)[0]
        return HttpClient(url, token=first, source="queen", timeout_s=_PROBE_S, ca_file=settings.pool.tls_ca)

    async with Reigning(queen, connect) as http:
        try:
            await http.call("GET", "/v2/meta/version")
        except RbeeError as error:
            error.message = f"from this host, {error.message}"
            raise


def _write_token(folder: Path, token: str) -> list[str]:
    file, before = folder / "token", folder / _TOKEN_BEFORE
    with permitted(folder):
        if file.is_file() and file.read_text(encoding="ascii", errors="replace") == token:
            return []
        folder.mkdir(parents=True, exist_ok=True)
        if file.is_file() and "token" not in _recalled(folder / _MARK):
            file.replace(before)
        _remember(folder / _MARK, {"token": None})
        new = file.with_name(f".token.{os.getpid()}")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(token)
            os.fsync(stream.fileno())
        new.replace(file)
    return ["token"]


def _restore_token(folder: Path) -> None:
    before = folder / _TOKEN_BEFORE
    if before.is_file():
        before.replace(folder / "token")
    else:
        (folder / "token").unlink(missing_ok=True)


def _write_settings(folder: Path, file: Path, queen: str, url: str) -> list[str]:
    wanted: dict[tuple[str, ...], Any] = {("pool", "queen"): queen, ("pool", "url"): url, ("hive", "pool"): url}
    try:
        before = toml_file.said(file, wanted)
        new = {".".join(where): before[where] for where, value in wanted.items() if before[where] != value}
        _remember(folder / _MARK, new)
        return toml_file.change(file, wanted)
    except RbeeError as error:
        said = ", ".join(f'{".".join(where)} = "{value}"' for where, value in wanted.items())
        raise ConfigInvalid(
            f"{file} does not say {said}, and cannot be changed: {error.message}",
            hint=f"on NixOS: services.rbee.pool.queen and services.rbee.pool.url; elsewhere: ls -l {file}",
        ) from None


def _remember(mark: Path, before: Mapping[str, Any]) -> None:
    """Write down what each key said before the first join; None: nothing."""
    if before:
        with permitted(mark.parent):
            mark.parent.mkdir(parents=True, exist_ok=True)
            known = {**before, **_recalled(mark)}
            write_whole(mark, "".join(f"{codec.dump_json([key, value])}\n" for key, value in known.items()).encode())


def _recalled(mark: Path) -> dict[str, Any]:
    """Return what each key that ``join`` changed had said before."""
    known: dict[str, Any] = {}
    for line in mark.read_text(encoding="utf-8").splitlines() if mark.is_file() else ():
        key, before = codec.parse_json(line.encode()) if line.startswith("[") else (line, None)
        known[key] = before
    return known


def _show(done: Joined, output: Output) -> None:
    changed = ", ".join(done.changed) or "nothing, all was so already"
    output.facts(done, {"pool": done.id, "queen": done.queen, "address": done.url, "changed": changed})
