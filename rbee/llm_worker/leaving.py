"""Going on our own account: idle, drained, or without a model. Whoever came in the same moment is still served."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from sanic import Request, Sanic
from sanic.response import HTTPResponse

from rbee.adapters.notify import Notifier
from rbee.daemon.app import Handler
from rbee.daemon.serve import BEATS_PER_WATCHDOG

PATIENCE_S = 4.0
"""How long a connection accepted just before the end may take to have said what it wants."""

_LOOK_AGAIN_S = 0.5
_UNWATCHED_S = 60.0


@dataclass(frozen=True, slots=True)
class OwnNotifier(Notifier):
    """Does not tell systemd that we stop while that is our own idea.

    systemd kills whoever says STOPPING=1 after TimeoutStopSec=, and has no SIGTERM for them any more; a generation
    that began in the last moment may take longer, and whoever stops the worker then has to reach it.
    """

    leaving: Callable[[], bool] = bool

    def stopping(self, status: str = "stopping") -> None:
        if not self.leaving():
            Notifier.stopping(self, status)

    @contextlib.asynccontextmanager
    async def beating(self, limit_s: Callable[[], float]) -> AsyncIterator[None]:
        """Keep the watchdog fed within this; the server, which does so else, is gone.

        Args:
            limit_s: for how long; it may become longer. Who hangs after that is killed, and the next one can start.
        """
        beats = asyncio.create_task(self._beat(limit_s))
        try:
            yield
        finally:
            beats.cancel()

    async def _beat(self, limit_s: Callable[[], float]) -> None:
        began_s = time.monotonic()
        while time.monotonic() - began_s < limit_s():
            self.watchdog()
            await asyncio.sleep((self.watchdog_s or _UNWATCHED_S) / BEATS_PER_WATCHDOG)


@dataclass(slots=True, eq=False)
class Callers:
    """The connections there are, as the tasks that serve them, and which of them have been understood."""

    _here: set[asyncio.Task[Any]] = field(default_factory=set)
    _served: set[asyncio.Task[Any]] = field(default_factory=set)

    def watch(self, app: "Sanic[Any, Any]") -> None:
        """Learn of every connection of ``app``."""
        app.add_signal(self._came, "http.lifecycle.begin")

    def serving(self, handler: Handler) -> Handler:
        """Return ``handler``, of which is known whom it serves."""

        async def serve(request: Request, **path: str) -> HTTPResponse | None:
            task = _current()
            self._served.add(task)
            try:
                return await handler(request, **path)
            finally:
                self._served.discard(task)

        return serve

    async def drop_silent(self) -> None:
        """Close those who do not say what they want, for good; until cancelled.

        They would hold up the end, and with it the next worker, for as long as they like.
        """
        await asyncio.sleep(PATIENCE_S)
        while True:
            for task in self._here - self._served:
                task.cancel()  # the first time only ends the request; Sanic then waits for the rest of its body
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _came(self, **_: Any) -> None:
        task = _current()
        self._here.add(task)
        task.add_done_callback(self._here.discard)


def _current() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  (a server serves each connection in a task)
    return task
