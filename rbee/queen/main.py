"""The entry of queen-rbee: read the settings, build what is needed, serve."""

import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

from rbee import config, log
from rbee.adapters.notify import Notifier
from rbee.config import Settings
from rbee.daemon import entry
from rbee.daemon.serve import listening_socket, require_token, serve
from rbee.queen.daemon import Daemon, policy_of
from rbee.queen.metrics import Metrics
from rbee.queen.policy import Policy
from rbee.queen.store.postgres import Postgres
from rbee.queen.store.store import Store

USAGE = """
queen-rbee: takes jobs over HTTP, finds workers for them, streams the answers.

Usage:
  queen-rbee [options]
  queen-rbee --check-config [<file>] [options]

Under systemd it listens on the socket of rbee-queen.socket; by hand, where --bind or [queen] bind says.
SIGTERM ends no job: the next queen takes up what runs. SIGHUP reads tokens, callers, models and the policy again.

Options:
  --config=<file>   Read this rbee.toml.
  --bind=<addr>     Listen there, host:port.
  --check-config    Check the settings, say each thing that is wrong, and exit: 0, or 78. Of <file> only what it says
                    itself: no environment, no secrets, nothing of this host but a policy in the Nix store.
  --debug           Log more.
  -h, --help        Show this.
  --version         Show the version.
"""
GRACE_S = 10.0
STORE = "/nix/store/"
"""What lies in there is the same on every host, so it is no matter of this one."""

SWITCH_S = 0.0005
"""The loop waits no longer than this for a thread of the database that is in the middle of some Python."""


def main() -> NoReturn:
    """Run queen-rbee; exit codes are those of sysexits(3)."""
    sys.exit(entry.main("queen-rbee", USAGE, run, check))


def check(args: entry.Args) -> str:
    """Return what is right: the file that was named, or what a queen started here would go by.

    Raises:
        ConfigInvalid: names what is not.
    """
    if args["<file>"] is not None:
        settings = config.check(args["<file>"])
        if settings.queen.policy.startswith(STORE) and Path(settings.queen.policy).exists():
            policy_of(settings)
        return settings.file
    settings, *_ = _read(args)
    return settings.file or "the defaults"


def run(args: entry.Args) -> None:
    """Serve until stopped.

    Raises:
        ConfigInvalid: the settings are wrong, or would serve the network without a token.
        Conflict: another queen has the database.
        Standby: another queen reigns over the database that this one had.
    """
    settings, tokens, policy, password = _read(args)
    log.setup("queen-rbee", debug=bool(args["--debug"]))
    sock = listening_socket(args["--bind"], settings.queen.bind)
    require_token(sock, tokens, "queen")
    sys.setswitchinterval(SWITCH_S)
    metrics = Metrics.make()
    database = _database(settings, password, sock, metrics)
    daemon = Daemon(settings, args["--config"], tokens, sock, database, metrics, policy)
    try:
        _serve(daemon)
    finally:
        daemon.close()
    if daemon.ended is not None:
        raise daemon.ended


def _read(args: entry.Args) -> tuple[Settings, tuple[str, ...], Policy, str]:
    """Return the settings, the tokens, the policy and the database's password."""
    settings = config.load(args["--config"], os.environ, queen={"bind": args["--bind"]})
    tokens = config.read_token(settings.queen.token_file, environ=os.environ)
    return settings, tokens, policy_of(settings), config.read_database_password(settings, environ=os.environ)


def _serve(daemon: Daemon) -> None:
    serve(
        daemon.app,
        sock=daemon.sock,
        ssl=daemon.tls,
        notifier=Notifier.from_environ(os.environ),
        vital=daemon.vital,
        status=daemon.status,
        reload=daemon.reload,
        on_start=daemon.start,
        on_stop=daemon.stop,
        grace_s=GRACE_S,
    )


def _database(settings: Settings, password: str, sock: socket.socket, metrics: Metrics) -> Store | Postgres:
    given = settings.queen.database
    if "://" in given:
        return Postgres(given, password=password, address=settings.queen.url or _address(settings, sock))
    path = Path(given) if given else config.state_dir(os.environ) / "queen.sqlite"
    return Store(path, observe_s=metrics.write_s.observe)


def _address(settings: Settings, sock: socket.socket) -> str:
    """Return where others probably reach us, for want of a [queen] url."""
    host, port = sock.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104  (we listen at every address, and tell one)
        host = socket.gethostname()
    return f"{'https' if settings.queen.tls_cert else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
