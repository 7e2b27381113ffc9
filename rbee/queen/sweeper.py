"""Forgets what has been kept long enough."""

import asyncio
import contextlib

from rbee import log
from rbee.errors import RbeeError
from rbee.queen.clock import Clock
from rbee.queen.jobs import Jobs
from rbee.queen.store import retention
from rbee.queen.store.store import Store

SWEEP_S = 60.0
SOON_S = 0.5
"""What nobody may keep is left so long for whoever asked for it, and has yet to come and read it."""


class Sweeper:
    """
    Args:
        retain_jobs_s: how long a finished job is kept.
        retain_text_s: how long its prompt and output are; 0: no longer than somebody reads them, or may come to.
    """

    def __init__(self, store: Store, clock: Clock, jobs: Jobs, *, retain_jobs_s: float, retain_text_s: float) -> None:
        self.retain_jobs_s = retain_jobs_s
        self.retain_text_s = retain_text_s
        self._store, self._clock = store, clock
        self._jobs = jobs
        self._soon = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.job_ended()  # one of the queen before us may have, a moment ago
        self._task = asyncio.create_task(self._run(), name="sweeper")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def job_ended(self) -> None:
        if self.retain_text_s == 0:
            self._soon.set()

    async def _run(self) -> None:
        while True:
            try:
                await self.sweep()
            except RbeeError as error:
                log.warning("sweep.failed", error=error.message)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SOON_S if self._jobs.still_read() else SWEEP_S):
                    await self._soon.wait()
            self._soon.clear()  # what ends from now on has a pause of its own
            await asyncio.sleep(SOON_S)

    async def sweep(self) -> None:
        """Erase and delete what is due, whatever the clock on the wall was set to meanwhile."""
        await self._clock.keep(self._store)
        now, wall = self._clock.now_ms(), self._clock.wall_ms()
        # One that lives may have ended on disk already, and nobody here knows it.
        keep = self._jobs.still_read() | {job.seq for job in self._jobs.live.values()}
        text_before = now - int((self.retain_text_s or SOON_S) * 1000)
        jobs_before = now - int(self.retain_jobs_s * 1000)
        erased = 0
        while count := await self._store.write(retention.erase_text, text_before, wall, keep):
            erased += count
        deleted = await self._store.write(retention.delete_finished, jobs_before)
        await self._store.write(retention.forget_workers, min(jobs_before, wall - int(self.retain_jobs_s * 1000)))
        if erased or deleted:
            await self._store.checkpoint()
            log.event("jobs.swept", erased=erased, deleted=deleted)
