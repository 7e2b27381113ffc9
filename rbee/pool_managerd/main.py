"""The entry of pool-managerd: read the settings, build what is needed, serve."""

import os
import sys
from typing import NoReturn

from rbee import config, log
from rbee.adapters.notify import Notifier
from rbee.config import Settings
from rbee.daemon import entry
from rbee.daemon.serve import listening_socket, require_token, serve
from rbee.pool_managerd.daemon import Daemon

USAGE = """
pool-managerd: this host's workers, models and GPUs over HTTP, and a heartbeat to the queen.

Usage:
  pool-managerd [options]
  pool-managerd --check-config [<file>] [options]

Under systemd it listens on the socket of rbee-pool.socket; by hand, where --bind or [pool] bind says.

Options:
  --config=<file>   Read this rbee.toml.
  --bind=<addr>     Listen there, host:port.
  --check-config    Check the settings, say each thing that is wrong, and exit: 0, or 78. Of <file> only what it says
                    itself: no environment, no secrets, nothing of this host.
  --debug           Log more.
  -h, --help        Show this.
  --version         Show the version.
"""
GRACE_S = 20.0


def main() -> NoReturn:
    """Run pool-managerd; exit codes are those of sysexits(3)."""
    sys.exit(entry.main("pool-managerd", USAGE, run, check))


def check(args: entry.Args) -> str:
    """Return what is right: the file that was named, or what a pool started here would go by.

    Raises:
        ConfigInvalid: names what is not.
    """
    if args["<file>"] is not None:
        return config.check(args["<file>"]).file
    settings, _ = _read(args)
    return settings.file or "the defaults"


def run(args: entry.Args) -> None:
    """Serve until stopped."""
    settings, tokens = _read(args)
    log.setup("pool-managerd", debug=bool(args["--debug"]), pool=config.pool_id(settings))
    sock = listening_socket(args["--bind"], settings.pool.bind)
    require_token(sock, tokens, "pool")
    daemon = Daemon(settings, args["--config"], tokens, sock)
    serve(
        daemon.app,
        sock=sock,
        ssl=daemon.tls,
        notifier=Notifier.from_environ(os.environ),
        vital=daemon.vital,
        status=daemon.status,
        reload=daemon.reload,
        on_start=daemon.start,
        on_stop=daemon.stop,
        grace_s=GRACE_S,
    )


def _read(args: entry.Args) -> tuple[Settings, tuple[str, ...]]:
    """Return the settings and the tokens."""
    settings = config.load(args["--config"], os.environ, pool={"bind": args["--bind"]})
    return settings, config.read_token(settings.pool.token_file, environ=os.environ)
