"""A daemon that is sent a signal as it starts, when Sanic has no ear for it yet."""

import signal
import subprocess
import sys

import pytest

from tests.rig.waiting import PATIENCE

DAEMON = """
import asyncio, os, signal, socket, sys
from sanic import Sanic
from prometheus_client import CollectorRegistry
from rbee import log
from rbee.adapters.notify import Notifier
from rbee.daemon.access import Access
from rbee.daemon.app import create_app
from rbee.daemon.serve import serve

moment, number = sys.argv[1], int(sys.argv[2])


def at(now):
    if now == moment:
        os.kill(os.getpid(), number)


async def starting():
    at("as-it-starts")


async def listening(_):
    at("as-it-listens")
    await asyncio.sleep(0.01)


def set_serving(app, serving):
    if serving:
        at("between-two-runs")
    before(app, serving)


before, Sanic.set_serving = Sanic.set_serving, set_serving  # which Sanic calls when the loop stands still
log.setup("test", debug=False)
access, sock = Access(callers={}), socket.create_server(("127.0.0.1", 0))
app = create_app("test", source="test", access=access, metrics=CollectorRegistry(), body_limit_bytes=1, connections=1)
app.before_server_start(lambda _: at("before-it-listens"))
app.after_server_start(listening)
serve(
    app,
    sock=sock,
    notifier=Notifier.from_environ({}),
    vital=lambda: None,
    status=lambda: "well",
    reload=lambda: os.kill(os.getpid(), signal.SIGTERM),
    on_start=starting,
)
"""

MOMENTS = ("as-it-starts", "before-it-listens", "as-it-listens", "between-two-runs")


def told(moment: str, number: signal.Signals) -> tuple[int, list[str]]:
    """Return the exit status of a daemon that was told ``number`` then, and what it logged."""
    told = [sys.executable, "-c", DAEMON, moment, str(int(number))]
    done = subprocess.run(told, capture_output=True, text=True, timeout=30 * PATIENCE, check=False)
    return done.returncode, [line.partition(">")[2].partition(" ")[0] for line in done.stderr.splitlines()]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_reload_is_done_once_it_serves(moment: str) -> None:
    """The reload of this one ends it."""
    status, logged = told(moment, signal.SIGHUP)
    assert (status, [line for line in logged if line != "daemon.ready"]) == (
        0,
        ["config.reloaded", "daemon.stopping", "daemon.stopped"],
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", ["as-it-listens", "between-two-runs"])
def test_a_stop_is_heeded_from_when_it_listens(moment: str, number: signal.Signals) -> None:
    assert told(moment, number) == (0, ["daemon.stopping", "daemon.stopped"])
