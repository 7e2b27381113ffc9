"""The daemon makes its host as rbee.toml declares: at the start, on a reload, and again until all is so."""

import asyncio
import contextlib
import math
from collections.abc import Callable
from typing import Any, TypeAlias

from rbee import log
from rbee.errors import BackendUnavailable, ChecksumMismatch, ConfigInvalid, InvalidRequest, ModelLoadFailed, RbeeError
from rbee.pool_core.ports import UnitFacts
from rbee.pool_core.service import PoolService
from rbee.pool_core.syncing import failures
from rbee.pool_core.unit import plan_from_argv
from rbee.wire.sync import SyncAction, SyncEvent, SyncOutcome, SyncSpec, SyncState, SyncStep
from rbee.wire.words import counted

AGAIN_S = 5.0
LONGEST_PAUSE_S = 600.0
_IN_VAIN = (ConfigInvalid, InvalidRequest, ChecksumMismatch, ModelLoadFailed)
"""Trying again heals none of these, and some take their time to find out; but a driver may come later than we do."""
CALM_S = 2 * LONGEST_PAUSE_S
"""After so long without a worker that failed the next one that does is the first again."""

ToDo: TypeAlias = frozenset[tuple[str, str, str]]
"""Steps, by what they are about, what they do, and why."""


class Syncing:
    """One sync after the other, each when there is reason to.

    Args:
        pool: the service as it is now; a reload makes another.
        changed: called when the queen should hear what is here now.
    """

    def __init__(self, pool: Callable[[], PoolService], changed: Callable[[], None]) -> None:
        self._pool, self._changed = pool, changed
        self._stirred = asyncio.Event()
        self._asked = False
        self._now: asyncio.Task[float | None] | None = None
        self._pause_s = AGAIN_S
        self._failing_s, self._failed_at_s = AGAIN_S, -math.inf
        self._said: frozenset[tuple[str, str]] = frozenset()
        self._left: ToDo = frozenset()
        self._unfinished = False
        self._drains = False
        self.line = ""
        """What it does, or could not do, as a clause; empty when all is as declared."""

    async def run(self) -> None:
        """Sync until cancelled."""
        try:
            while True:
                self._asked = False
                self._now = asyncio.create_task(self._once(), name="sync-now")
                await asyncio.wait({self._now})
                await self._reason(None if self._now.cancelled() else self._now.result())
        finally:
            if self._now is not None:
                self._now.cancel()
                await asyncio.wait({self._now})

    def again(self) -> None:
        """Somebody else has synced, or what stood in the way has gone: look at once."""
        self._pause_s, self._asked = AGAIN_S, True
        self._stirred.set()

    def anew(self) -> None:
        """Something else is declared now: what is under way is given up for it. No worker notices."""
        self.again()
        self.give_way()

    def give_way(self) -> None:
        """Somebody else does it now, and tells us when it is done: ``again``."""
        if self._now is not None:
            self._now.cancel()

    def worker_changed(self) -> None:
        """A worker has started, ended or fallen asleep; it may have been waited for, or have failed for good."""
        self._stirred.set()

    def saw(self, *, draining: bool) -> None:
        """The pool drains, or does so no more."""
        if self._drains and not draining:
            self.again()
        self._drains = draining

    async def _reason(self, within_s: float | None) -> None:
        """Return when there is one to sync: it was asked for, or is due, there are other steps than were left, or a
        worker has failed for some time.
        """
        noticed = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s) as due:
                while not self._asked:
                    await self._stirred.wait()
                    self._stirred.clear()
                    if self._asked:
                        return
                    failed = await self._failed()
                    if failed and not noticed:
                        noticed = True
                        now_s, pause_s = asyncio.get_running_loop().time(), self._before_anew()
                        due.reschedule(min(due.when() or math.inf, now_s + pause_s))
                        self.line = f"{', '.join(sorted(failed))} failed: made anew within {pause_s:.0f} s"
                    if self._unfinished and any(step[0] not in failed for step in await self._to_do() - self._left):
                        self.again()

    async def _failed(self) -> frozenset[str]:
        """Return the workers that were declared and that nobody can wake any more."""
        try:
            found = await self._pool().units()
        except Exception as error:  # noqa: BLE001  (as below)
            _unseen(error)
            return frozenset()
        return frozenset(each.id for each in found if each.socket_state == "failed" and _is_declared(each))

    def _before_anew(self) -> float:
        """Return how long to leave those who failed alone: longer each time, as it may be their own doing."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._failed_at_s > CALM_S:
            self._failing_s = AGAIN_S
        pause_s, self._failed_at_s = self._failing_s, now_s
        self._failing_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return pause_s

    async def _once(self) -> float | None:
        """Sync; return after how long to try again, None for not by itself."""
        try:
            outcome = await self._synced(SyncSpec())
            pause_s = self._judged(outcome)
            self._left = _but_waiting(await self._to_do(), outcome) if self._unfinished else frozenset()
            return pause_s
        except RbeeError as error:
            line = f"not synced: {error.message}"
            if self.line != line:
                log.warning("sync.failed", code=error.code, reason=error.message, hint=error.hint or None)
            self.line, self._unfinished = line, True
        except Exception as error:  # noqa: BLE001  (a bug must not keep us from what is declared for good)
            log.foreign("sync.broke", error)
            self.line, self._unfinished = f"not synced: {error!r}", True
        return self._longer()

    async def _to_do(self) -> ToDo:
        """Return what a sync would do now."""
        try:
            outcome = await self._synced(SyncSpec(dry_run=True))
        except Exception as error:  # noqa: BLE001  (nor a bug in a look between two syncs)
            _unseen(error)
            return frozenset()
        return frozenset((s.id, s.action.value, s.why) for s in outcome.steps if s.state is SyncState.PLANNED)

    async def _synced(self, spec: SyncSpec) -> SyncOutcome:
        outcome = SyncOutcome()
        async with contextlib.aclosing(self._pool().sync(spec)) as events:  # type: ignore[type-var]
            async for event in events:
                outcome = event.outcome or outcome
                self._tell(event)
        return outcome

    def _tell(self, event: SyncEvent) -> None:
        step = event.step
        if step is None:
            return
        share = "" if event.progress is None else f" {event.progress:.0%}"
        self.line = f"syncing: {event.message}{share}"
        if step.state is SyncState.DONE:
            log.event("sync.step", step=step.action.value, **_about(step), why=step.why)
            self._changed()

    def _judged(self, outcome: SyncOutcome) -> float | None:
        """Say what came of it, and return when to try again."""
        failed = list(failures(outcome))
        for step, error in failed:
            if (step.id, error.message) not in self._said:
                facts = {"code": error.code, "reason": error.message, "hint": error.hint or None}
                log.warning("sync.step_failed", step=step.action.value, **_about(step), **facts)
        self._said = frozenset((step.id, error.message) for step, error in failed)
        waits = any(step.state is SyncState.WAITS for step in outcome.steps)
        self._unfinished = waits or bool(failed)
        self.line = _failed_line(failed)
        if all(_is_in_vain(error) for _, error in failed):
            self._pause_s = AGAIN_S
            return None
        return self._longer()

    def _longer(self) -> float:
        pause_s = self._pause_s
        self._pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return pause_s


def _is_in_vain(error: RbeeError) -> bool:
    """Say whether trying again heals nothing. A broker that refuses may be the one before an upgrade, soon gone."""
    return isinstance(error, _IN_VAIN) and not isinstance(error, BackendUnavailable) and error.source != "broker"


def _but_waiting(left: ToDo, outcome: SyncOutcome) -> ToDo:
    """Return the steps without those of workers that had to be waited for: one of them has fallen asleep since the sync
    looked, and its step is to be seen as new when we are told so.
    """
    waited = {step.id for step in outcome.steps if step.state is SyncState.WAITS}
    return frozenset(step for step in left if step[0] not in waited or step[1] == SyncAction.FETCH)


def _is_declared(facts: UnitFacts) -> bool:
    return plan_from_argv(facts.argv).declared


def _unseen(error: Exception) -> None:
    """Tell of a bug; whoever does not answer is named by the next sync."""
    if not isinstance(error, RbeeError):
        log.foreign("sync.unseen", error)


def _about(step: SyncStep) -> dict[str, Any]:
    """Return the journal's field for what a step is about, so that ``journalctl WORKER=…`` has it."""
    return {"model" if step.action is SyncAction.FETCH else "worker": step.id}


def _failed_line(failed: list[tuple[SyncStep, RbeeError]]) -> str:
    """Return ``1 declaration not met: chat: …``."""
    if not failed:
        return ""
    step, error = failed[0]
    return f"{counted(len(failed), 'declaration')} not met: {step.id}: {error.message}"
