"""Signals to a daemon, from before it serves: none ends it in the middle of things, none is lost.

Connections are accepted a while before Sanic's last run of its loop begins. Until then a signal that Sanic would heed
stops a run that is not the last one, and what comes between two runs uvloop keeps until it is sent another.
"""

import asyncio
import signal
from collections.abc import Callable
from functools import partial

from rbee.daemon.app import App

ENDING = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Remembers what comes early.

    Args:
        reload: what SIGHUP does, if anything; by default it would end us.
    """

    def __init__(self, app: App, reload: Callable[[], None] | None) -> None:
        self._app = app
        self._reload = reload
        self._early: set[int] = set()
        if reload is not None:
            signal.signal(signal.SIGHUP, self._remember)
        app.after_server_start(self._keep_endings, priority=1)  # from when Sanic ignores them: until then they end us

    async def heed(self) -> bool:
        """Begin to do what signals say, once the last run has begun; return whether one has ended us already."""
        while not self._app.state.is_running:  # noqa: ASYNC110  (nobody tells)
            await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        end = partial(self._app.stop, terminate=False)
        for number in ENDING:
            loop.add_signal_handler(number, end)
        if self._reload is not None:
            loop.add_signal_handler(signal.SIGHUP, self._reload)
        ended = not self._early.isdisjoint(ENDING)
        if ended:
            end()
        elif self._early and self._reload is not None:
            self._reload()
        return ended

    async def _keep_endings(self, _: App) -> None:
        for number in ENDING:
            signal.signal(number, self._remember)

    def _remember(self, number: int, _: object) -> None:
        self._early.add(number)
