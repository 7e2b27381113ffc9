"""A daemon's life on one page: take the socket, serve, say READY, beat while vital, reload, drain, stop."""

import asyncio
import contextlib
import gc
import ipaddress
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from ssl import SSLContext
from typing import Any

from rbee import log
from rbee.adapters.notify import Notifier, bind_socket, inherited_socket
from rbee.daemon.app import App
from rbee.daemon.protocol import PatientProtocol
from rbee.daemon.signals import Signals
from rbee.errors import ConfigInvalid

STATUS_S = 2.0
SETTLE_S = 0.1
BEATS_PER_WATCHDOG = 3
OLD_AFTER = 100
"""Of so many looks at what is young, one is at everything, for which all streams stand still; with Python it is 10."""


def listening_socket(bind: str | None, default: str) -> socket.socket:
    """Return systemd's socket when there is one, else one bound to ``bind``, else to ``default``.

    ``bind`` is what ``--bind`` said; with an inherited socket it would be ignored in silence, so it is refused.

    Raises:
        ConfigInvalid: that; or we are a unit whose socket gave us nothing, and would listen where nobody looks: systemd
            forgets the descriptors of a socket whose unit changed while it was up.
    """
    inherited = inherited_socket(os.environ)
    if inherited is None and bind is None and os.environ.get("NOTIFY_SOCKET"):
        raise ConfigInvalid(
            "systemd started this unit without its socket",
            hint="stop the service, then: systemctl restart its .socket; a unit that has none wants --bind",
        )
    if inherited is not None and bind is not None:
        raise ConfigInvalid(f"--bind={bind} was given, but systemd passed a socket", hint="drop one of the two")
    return inherited or bind_socket(bind or default)


def is_loopback(sock: socket.socket) -> bool:
    """Say whether only this machine can connect to ``sock``."""
    if sock.family == socket.AF_UNIX:
        return True
    return ipaddress.ip_address(sock.getsockname()[0]).is_loopback


def require_token(sock: socket.socket, tokens: tuple[str, ...], table: str) -> None:
    """Refuse to serve the network without a token (SPEC rule 8).

    Raises:
        ConfigInvalid: names the address and the key to set.
    """
    if not tokens and not is_loopback(sock):
        host, port = sock.getsockname()[:2]
        raise ConfigInvalid(
            f"{host}:{port} is reachable from the network, but no token is configured",
            hint=f"rbee-keeper token new --output FILE, then [{table}] token_file = FILE",
        )


def serve(
    app: App,
    *,
    sock: socket.socket,
    ssl: SSLContext | None = None,
    notifier: Notifier,
    vital: Callable[[], str | None],
    status: Callable[[], str],
    reload: Callable[[], None] | None = None,
    on_start: Callable[[], Awaitable[None]] | None = None,
    on_stop: Callable[[], Awaitable[None]] | None = None,
    ready: Callable[[], Awaitable[None]] | None = None,
    grace_s: float = 15.0,
) -> None:
    """Serve ``app`` on ``sock`` until SIGTERM or SIGINT.

    Args:
        ssl: what makes it https; None for http.
        vital: None while the daemon makes progress, else what stands still; then no watchdog beat is sent.
        status: the line ``systemctl status`` shows.
        reload: called on SIGHUP; what it raises is logged and the daemon goes on as it was.
        on_start: awaited before the first request is taken.
        on_stop: awaited first when stopping, while requests are still being answered.
        ready: awaited after serving has begun; READY=1 is sent when it returns.
        grace_s: how long requests in flight may take when stopping.
    """
    logging.getLogger("sanic").setLevel(logging.WARNING)
    logging.getLogger("sanic.root").setLevel(logging.WARNING)
    logging.getLogger("sanic.error").setLevel(logging.CRITICAL)
    logging.getLogger("sanic.server").setLevel(logging.WARNING)
    app.config.GRACEFUL_SHUTDOWN_TIMEOUT = grace_s
    tasks: list[asyncio.Task[None]] = []
    signals = Signals(app, partial(_reload, reload, notifier, status) if reload is not None else None)

    @app.before_server_start
    async def starting(_: App) -> None:
        if on_start is not None:
            await on_start()

    @app.after_server_start
    async def started(_: App) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_unheard)
        gc.freeze()  # what is here by now stays; to look through it again and again would stop all streams for a while
        gc.set_threshold(*gc.get_threshold()[:2], OLD_AFTER)
        tasks.append(loop.create_task(announcing()))
        tasks.append(loop.create_task(_beat(app.ctx.moved, notifier, vital, status)))

    async def announcing() -> None:
        if await signals.heed():
            return
        if ready is not None:
            await ready()
        notifier.ready(status())
        log.event("daemon.ready", status=status())

    @app.before_server_stop
    async def stopping(_: App) -> None:
        notifier.stopping()
        notifier.extend(grace_s)
        log.event("daemon.stopping")
        if on_stop is not None:
            await on_stop()

    @app.after_server_stop
    async def stopped(_: App) -> None:
        for task in tasks:
            task.cancel()
        log.event("daemon.stopped")

    app.run(
        sock=sock,
        ssl=ssl,
        protocol=PatientProtocol,
        register_sys_signals=False,
        single_process=True,
        access_log=False,
        motd=False,
    )


def _unheard(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what failed where nobody waits for it; asyncio itself would print its text, and whose it was."""
    error = context.get("exception")
    if isinstance(error, BaseException):
        log.foreign("loop.failed", error, reason=context["message"].partition("(")[0])
    else:
        log.error("loop.failed", reason=context["message"].partition("(")[0])


async def _beat(
    moved: asyncio.Event, notifier: Notifier, vital: Callable[[], str | None], status: Callable[[], str]
) -> None:
    """Keep STATUS true and the watchdog fed; a stall is logged once, and then systemd decides."""
    pause_s = min(STATUS_S, (notifier.watchdog_s or STATUS_S * BEATS_PER_WATCHDOG) / BEATS_PER_WATCHDOG)
    shown, stalled = "", ""
    while True:
        standstill = vital()
        if standstill is None:
            notifier.watchdog()
        elif standstill != stalled:
            log.error("watchdog.withheld", reason=standstill)
        stalled = standstill or ""
        line = status()
        if line != shown:
            notifier.status(line)
            shown = line
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await moved.wait()
                await asyncio.sleep(SETTLE_S)
        moved.clear()


def _reload(reload: Callable[[], None], notifier: Notifier, status: Callable[[], str]) -> None:
    try:
        reload()
    except Exception as error:  # noqa: BLE001  (a wrong file must not end a running daemon)
        log.error("config.rejected", error=str(error), hint=getattr(error, "hint", ""))
        return
    log.event("config.reloaded")
    with contextlib.suppress(OSError):
        notifier.status(status())
