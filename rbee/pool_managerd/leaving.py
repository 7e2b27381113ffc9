"""Before this host goes, its jobs do: told the queen, waited for, and work taken again when all is there again."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, assert_never

from rbee import log
from rbee.adapters.systemd.logind import Power
from rbee.errors import RbeeError
from rbee.pool_core.condition import Condition, Drain, absent, told
from rbee.pool_core.service import PoolService
from rbee.pool_managerd.heartbeat import Heartbeat
from rbee.wire.draining import DrainReason
from rbee.wire.pools import Gpu
from rbee.wire.workers import WorkerState

MARGIN_S = 0.5
"""Of the time that logind gives, so much is left to it."""

SETTLE_S = 0.3
"""Work that the queen gave just before she heard of it has reached its worker by then, and shows."""

GPUS_BACK_S = 8.0
GPU_PAUSE_S = 0.5
"""How long a driver may take to have its GPUs again after a sleep, and how often it is asked."""

LISTEN_AGAIN_S = 10.0
NAP_S = 1.0
"""A clock that gained no more than that on the one that stands still in a sleep was not asleep."""

_AWAKE = frozenset({WorkerState.STARTING, WorkerState.READY, WorkerState.BUSY, WorkerState.DRAINING})
_WORKS = frozenset({WorkerState.BUSY, WorkerState.DRAINING})


class PowerWatch(Protocol):
    """Who knows of the host's power: ``adapters.systemd.logind``."""

    delay_s: float

    def events(self) -> AsyncGenerator[Power, None]: ...
    def go_ahead(self, power: Power) -> None: ...


class Leaving:
    """Sets ``condition.drain`` and takes it back.

    Args:
        pool: the service as it is now; a reload makes another.
        reconnect: called after a sleep: no connection of before leads anywhere.
        slept_s: how long this host has slept since it was switched on.
    """

    def __init__(
        self,
        condition: Condition,
        heartbeat: Heartbeat,
        power: PowerWatch,
        *,
        pool: Callable[[], PoolService],
        reconnect: Callable[[], None],
        now_ms: Callable[[], int],
        slept_s: Callable[[], float],
    ) -> None:
        self._condition, self._heartbeat, self._power = condition, heartbeat, power
        self._pool, self._reconnect, self._now_ms = pool, reconnect, now_ms
        self._slept_s, self._slept = slept_s, slept_s()
        self._check: asyncio.Task[None] | None = None
        self._before: Sequence[Gpu] | None = None
        self._trouble = ""

    async def run(self) -> None:
        """Do what the host's power asks for, until cancelled; where nobody tells of it, say so once."""
        while True:
            try:
                async with contextlib.aclosing(self._power.events()) as events:
                    async for event in events:
                        await self._on(event)
            except Exception as error:  # noqa: BLE001  (also a bug must not leave us deaf for good)
                why = error.message if isinstance(error, RbeeError) else repr(error)
                if why != self._trouble:
                    log.warning("power.untold", reason=why)
                self._trouble = why
            await asyncio.sleep(LISTEN_AGAIN_S)

    async def close(self) -> None:
        """End the check of the GPUs, if it goes on; it would let the pool take work again."""
        if self._check is not None:
            self._check.cancel()
            await asyncio.wait({self._check})

    def look_at_clocks(self) -> None:
        """A host may also be sent to sleep behind logind's back: then only the clocks know."""
        if self._slept_s() - self._slept > NAP_S:
            self._wake()

    async def stop(self, reason: DrainReason | None) -> None:
        """The daemon ends; None: only to be there again. Tell the queen unless she knows, before it is too late."""
        known = self._condition.drain is not None and self._condition.drain.reason is DrainReason.SHUTDOWN
        await self.close()
        if reason is None or known:
            return
        # Workers outlive a stop of this service, but not the host.
        await self._leave(reason, self._power.delay_s, patient=reason is DrainReason.SHUTDOWN)

    async def _on(self, power: Power) -> None:
        match power:
            case Power.OFF:
                await self.close()
                await self._leave(DrainReason.SHUTDOWN, self._power.delay_s - MARGIN_S)
                self._power.go_ahead(power)
            case Power.SLEEPS:
                await self.close()
                self._remember_gpus()
                await self._leave(DrainReason.SLEEP, self._power.delay_s - MARGIN_S)
                self._power.go_ahead(power)
            case Power.STAYS_ON:
                self._stay()
            case Power.AWAKE:
                if self._check is None or self._check.done():  # else the clocks have told us first
                    self._wake()
            case _:
                assert_never(power)

    async def _leave(self, reason: DrainReason, within_s: float, *, patient: bool = True) -> None:
        """Take no new work, have the queen move what runs, and wait for that as long as it may take.

        Args:
            patient: wait until no worker works; else only until the queen has heard.
        """
        self._condition.drain = Drain(reason, self._now_ms())
        log.event("pool.leaving", reason=reason.value, within_s=within_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._heartbeat.tell(within_s)
                if patient:
                    await self._until_quiet()
        log.event("pool.left", reason=reason.value, busy=len(self._those(_WORKS)))

    async def _until_quiet(self) -> None:
        while self._heartbeat.last is None or self._those(_AWAKE):
            await asyncio.sleep(SETTLE_S)
            await self._heartbeat.tell()
            if self._heartbeat.last is not None and not self._those(_WORKS):
                return

    def _those(self, states: frozenset[WorkerState]) -> Sequence[str]:
        found = self._heartbeat.last
        return [worker.id for worker in found.workers if worker.state in states] if found else []

    def _stay(self) -> None:
        log.event("pool.stays")
        self._condition.drain = None
        if self._before is not None:  # it was asking its GPUs when it was to be switched off
            self._ask_gpus()
        self._heartbeat.changed()

    def _wake(self) -> None:
        slept_s = self._slept_s()
        log.event("pool.awake", slept_s=round(slept_s - self._slept, 1))
        self._slept = slept_s
        self._remember_gpus()
        self._ask_gpus()
        self._reconnect()
        self._heartbeat.changed()

    def _ask_gpus(self) -> None:
        """Take no work until the GPUs of before have been asked for."""
        self._condition.drain = Drain(DrainReason.GPU_CHECK)
        if self._check is not None:
            self._check.cancel()
        self._check = asyncio.create_task(self._take_roll(), name="gpu-check")

    def _remember_gpus(self) -> None:
        """Keep which there were at the last look before a sleep, until they were asked: a look since may see fewer."""
        if self._before is None and self._heartbeat.last is not None:
            again = (replace(gpu, problem="") for gpu in self._condition.missing.values())
            self._before = (*self._heartbeat.last.gpus.gpus, *again)

    async def _take_roll(self) -> None:
        """Take work again once the GPUs of before have answered, or have had their time."""
        casualties: Mapping[str, str] = {}
        try:
            casualties = await self._miss()
        except RbeeError as error:
            log.error("gpu.unchecked", reason=error.message)
        self._before = self._condition.drain = None
        log.event("pool.back", gpus_missing=len(self._condition.missing))
        await self._heartbeat.tell()
        await asyncio.gather(*map(self._pool().stop_worker, casualties), return_exceptions=True)
        self._heartbeat.changed()

    async def _miss(self) -> Mapping[str, str]:
        """Note who is missing and say so; return the workers that cannot go on."""
        missing = await self._missing()
        for gpu in missing:
            log.warning("gpu.missing", gpu=told(gpu))
        casualties = await self._pool().miss(missing)
        for why in casualties.values():
            log.warning("worker.bereft", reason=why)
        return casualties

    async def _missing(self) -> Sequence[Gpu]:
        deadline_s = asyncio.get_running_loop().time() + GPUS_BACK_S
        while True:
            missing = absent(self._before or (), await self._pool().gpus_anew())
            if not missing or asyncio.get_running_loop().time() >= deadline_s:
                return missing
            await asyncio.sleep(GPU_PAUSE_S)
