"""rbee-broker: started by rbee-broker.socket. Takes no arguments; what it allows is in rbee.toml."""

import asyncio
import os
import pwd
import sys

from rbee import __version__, config, log
from rbee.adapters import places
from rbee.adapters.notify import Notifier, inherited_socket
from rbee.adapters.systemd.units import SystemdUnits
from rbee.broker.bounds import bounds_of
from rbee.broker.server import Broker, Terms
from rbee.config import Settings
from rbee.errors import ConfigInvalid, InvalidRequest, RbeeError
from rbee.pool_core.unit import Mode

IDLE_S = 30.0
USER = "rbee"
_HOW = "RBEE_WORKER_"

SAYS = {
    "--version": f"rbee-broker {__version__}\n",
    "--help": "rbee-broker: starts workers for user rbee, and nothing else. Started by systemd, never by hand.\n",
}


def main() -> None:
    """Serve until idle; exit codes are those of sysexits(3)."""
    if len(sys.argv) == 2 and sys.argv[1] in SAYS:
        sys.stdout.write(SAYS[sys.argv[1]])
        return
    log.setup("rbee-broker")
    try:
        asyncio.run(_serve())
    except RbeeError as error:
        log.last("broker.failed", code=error.code, error=error.message, hint=error.hint or None)
        sys.exit(error.exit_code)


async def _serve() -> None:
    if len(sys.argv) > 1:
        raise InvalidRequest(f"rbee-broker takes no arguments, got {sys.argv[1]!r}")
    listening = inherited_socket(os.environ)
    if listening is None:
        raise InvalidRequest("no socket from systemd", hint="systemctl start rbee-broker.socket")
    user = _uid(USER)
    broker = Broker(_units(_settings()), lambda: _terms(user), (0, user), idle_s=IDLE_S)
    notifier = Notifier.from_environ(os.environ)
    notifier.ready("answering")
    await broker.serve(listening)
    notifier.stopping()


def _terms(user: int) -> Terms:
    settings = _settings()
    return Terms(units=_units(settings), bounds=bounds_of(settings, distrusted=user))


def _units(settings: Settings) -> SystemdUnits:
    return SystemdUnits(places.place(settings, Mode.SYSTEM, os.environ))


def _settings() -> Settings:
    """Return what the file says, and of our unit's variables those on how workers are made: not whom they may be."""
    return config.load(None, {key: value for key, value in os.environ.items() if key.startswith(_HOW)})


def _uid(user: str) -> int:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise ConfigInvalid(f"there is no user {user}", hint="systemd-sysusers") from None
