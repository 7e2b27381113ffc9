"""The worker as its routes and its life cycle see it: load, serve, drain, go when idle."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from os import EX_DATAERR, EX_SOFTWARE
from typing import Any

from rbee import log
from rbee.errors import Conflict, RbeeError, ShuttingDown
from rbee.llm_worker.engine import Engine
from rbee.llm_worker.idle import Idleness
from rbee.llm_worker.loading import FAILED, LOADING, Loading
from rbee.llm_worker.metrics import WorkerMetrics
from rbee.llm_worker.sessions import Sessions
from rbee.llm_worker.watchdog import standstill
from rbee.wire.inference import Readiness


@dataclass(slots=True, kw_only=True, eq=False)
class WorkerService:
    """One model, served.

    Args:
        clock: the engine's, in seconds.
        patience_s: how long a busy slot may stand still before the watchdog starves.
        stop: ends the process in good order; called from the event loop.
    """

    worker: str
    model: str
    engine: Engine
    metrics: WorkerMetrics
    idle_s: float
    patience_s: float
    clock: Callable[[], float]
    stop: Callable[[], None]
    exit_code: int = 0
    loading: Loading = field(init=False)
    sessions: Sessions = field(init=False)
    _idleness: Idleness = field(init=False)
    _sleeps: bool = field(default=False, init=False)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self._idleness = Idleness(limit_s=self.idle_s, used_s=self.clock())
        self.loading = Loading(self.model)
        self.sessions = Sessions(engine=self.engine, loading=self.loading, metrics=self.metrics, used=self._used)
        self.metrics.watch_slots(self.engine.slots, lambda: self.engine.slots_busy)
        self.metrics.watch_spent(self.engine.spent)

    async def start(self) -> None:
        """Begin to load; requests may come already, they wait for the model."""
        loop = asyncio.get_running_loop()

        def died(error: RbeeError) -> None:
            loop.call_soon_threadsafe(self._broken, error)

        self.engine.watch(died)
        self._spawn(self._live())

    async def finish(self, grace_s: float) -> None:
        """Take nothing new, let what runs finish for ``grace_s``, cancel the rest."""
        if self.loading.state == LOADING:
            self.engine.close()
            grace_s = 0.0
        await self.sessions.end_all(grace_s)

    async def keep(self) -> None:
        """Write down what is known, if this is to be a sleep: when nobody is served any more, so that it is all."""
        if not self._sleeps:
            return
        try:
            await asyncio.to_thread(self.engine.keep)
        except Exception as error:  # noqa: BLE001  (what is not kept is read again; the memory has to be free anyway)
            log.foreign("slots.not_kept", error)

    async def close(self) -> None:
        """Free the model, after the last connection is gone."""
        for task in self._tasks:
            task.cancel()
        await asyncio.to_thread(self.engine.close)

    def drain(self) -> None:
        """Take nothing new, and go when what runs is done."""
        if not self.sessions.draining:
            self.sessions.draining, self._sleeps = True, False
            log.event("worker.draining", running=self.sessions.live)
            self._spawn(self._go_when_quiet())

    def sleep(self) -> None:
        """Go now, as when idle: the memory is free, and the next request wakes it again.

        Raises:
            Conflict: it has work, or is not loaded yet.
        """
        if self.loading.state == LOADING or self.sessions.live > 0:
            doing = "is being loaded" if self.loading.state == LOADING else f"has {self.sessions.live} requests"
            raise Conflict(f"worker {self.worker} {doing}", hint="try again when it is idle")
        log.event("worker.evicted")
        self._spawn(self._fall_asleep())

    def readiness(self) -> Readiness:
        state = self.state
        return Readiness(
            ready=state in ("ready", "busy"),
            state=state,
            model=self.model,
            worker=self.worker,
            slots=self.engine.slots,
            slots_busy=self.engine.slots_busy,
            progress=self.loading.progress,
            context_tokens=self.engine.context_tokens,
        )

    @property
    def state(self) -> str:
        if self.loading.state in (LOADING, FAILED):
            return self.loading.state
        if self.sessions.draining:
            return "draining"
        return "busy" if self.engine.slots_busy else "ready"

    def status(self) -> str:
        """Return the line ``systemctl status`` shows; its first word is the state."""
        match self.state:
            case "loading":
                return f"loading {self.loading.progress * 100:.0f}% {self.model}"
            case "failed":
                return f"failed {self.model}: {self.loading.event().message}"
            case state:
                return f"{state} {self.engine.slots_busy}/{self.engine.slots} slots, {self.model}"

    def standstill(self) -> str | None:
        return standstill(self.engine.activity, now_s=self.clock(), limit_s=self.patience_s)

    async def ready(self) -> None:
        """Return when the model is loaded; never, when it cannot be."""
        await self.loading.finished()
        if self.loading.error is not None:
            await asyncio.get_running_loop().create_future()

    async def _live(self) -> None:
        await self.loading.run(self.engine.load)
        self.metrics.load_seconds.set(self.loading.seconds)
        error = self.loading.error
        if error is not None:
            if not isinstance(error, ShuttingDown):  # then somebody else ends us, and nothing is wrong with the model
                self._give_up("model.load_failed", error, EX_DATAERR)
            return
        log.event("model.loaded", load_s=self.loading.seconds, context_tokens=self.engine.context_tokens)
        self._used()
        await self._wait_until_idle()
        log.event("worker.idle", idle_s=self.idle_s)
        await self._fall_asleep()

    async def _fall_asleep(self) -> None:
        self._sleeps = not self.sessions.draining  # who drains is woken by nobody
        self.stop()

    async def _wait_until_idle(self) -> None:
        while True:
            wait_s = self._idleness.wait_s(self.clock(), busy=self.sessions.live > 0)
            if wait_s <= 0:
                return
            await asyncio.sleep(wait_s)

    async def _go_when_quiet(self) -> None:
        await self.sessions.quiet()
        self.stop()

    def _broken(self, error: RbeeError) -> None:
        """Nothing can be computed here any more: all who come hear so, and systemd starts another process."""
        self.loading.fail(error)
        self._give_up("worker.broken", error, EX_SOFTWARE)

    def _give_up(self, what: str, error: RbeeError, exit_code: int) -> None:
        if self.exit_code:
            return
        log.error(what, code=error.code, reason=error.message)
        self.exit_code = exit_code
        if not self.sessions.draining:  # else it is on its way already
            self.stop()

    def _used(self) -> None:
        self._idleness.use(self.clock())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
