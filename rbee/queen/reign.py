"""Which of several queens reigns over a database they share: the others stand by, and one whose reign is over ends."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from sanic import Request

from rbee import log
from rbee.errors import NoCapacity, RbeeError, ShuttingDown, Standby
from rbee.queen.store.postgres import Postgres
from rbee.queen.store.store import Store

TOUCH_S = 2.0
"""So often she who reigns finds out whether she still does."""

_OPEN = ("/health", "/metrics", "/openapi.json")


class Reign:
    """
    Args:
        open_store: opens the database; takes until this queen reigns.
        begin: awaited with the store then.
        end: called once when this process has to end: another one can go on where it was.
    """

    def __init__(
        self,
        database: Postgres,
        open_store: Callable[[Postgres], Store],
        *,
        begin: Callable[[Store], Awaitable[None]],
        end: Callable[[RbeeError], None],
    ) -> None:
        self._database = database
        self._open_store = open_store
        self._begin = begin
        self._end = end
        self._task: asyncio.Task[None] | None = None
        self.refusal: RbeeError = ShuttingDown(
            "the queen is starting", hint="try again in a moment", details={"retry_after_s": 1}
        )
        """Why nothing but her health can be asked of this queen now."""

    def start(self) -> None:
        self._database.waits = self._wait
        self._task = asyncio.create_task(self._run(), name="reign")

    async def stop(self) -> None:
        self._database.leave()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def status(self) -> str:
        return self.refusal.message

    def _wait(self, why: NoCapacity | Standby) -> None:
        """Called by the thread that waits."""
        log.event("queen.stands_by", why=why.message, hint=why.hint)
        self.refusal = why

    async def _run(self) -> None:
        opening = asyncio.ensure_future(asyncio.to_thread(self._open_store, self._database))
        try:
            store = await asyncio.shield(opening)
        except asyncio.CancelledError:
            with contextlib.suppress(RbeeError):
                (await opening).close()
            raise
        except RbeeError as error:
            self._end(error)
            return
        log.event("queen.reigns", database=self._database.name)
        await self._begin(store)
        await self._keep(store)

    async def _keep(self, store: Store) -> None:
        """Return when the reign is over."""
        while (why := store.deposed()) is None:
            await asyncio.sleep(TOUCH_S)
            with contextlib.suppress(RbeeError):
                await store.touch()
        self._end(Standby(why, hint="journalctl -u rbee-queen; systemd starts her again, to stand by"))


async def refuse_without_queen(request: Request) -> None:
    """Before any handler: while this queen does not reign, only how she is can be asked of her."""
    if request.app.ctx.queen is None and request.path not in _OPEN:
        raise request.app.ctx.refusal()
