"""One host's turn in a rollout.

It is looked at, and the change is prepared; it is drained, and what runs there ends; it is changed; it is back and
verified, and its model says one token; it gets work again. Whatever fails on the way ends the turn.
"""

import asyncio
import dataclasses
import time
from collections.abc import Sequence
from typing import Any

from rbee.adapters.ssh import Remote
from rbee.adapters.ssh.pool import SshPool
from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.cli.units import seconds_text
from rbee.client.queen import QueenClient
from rbee.errors import EX_INTERRUPTED, NotFound, RbeeError, Timeout
from rbee.keeper import verifying
from rbee.keeper.change import Change, teller
from rbee.keeper.hosts import Host, from_here
from rbee.keeper.known import is_there
from rbee.keeper.reach import reached
from rbee.keeper.rollout_plan import Plan, PlanFile
from rbee.wire import codec
from rbee.wire.events import End, Failure
from rbee.wire.jobs import JobQuery, JobSpec, JobState
from rbee.wire.pools import PoolSnapshot, PoolState
from rbee.wire.words import counted

BACK_S = 600.0
PROBE_S = 300.0
SETTLE_S = 15.0
"""How long a check may fail after the change before it counts: a clock is set, a unit is still starting."""
_LOOK_S = 0.5
_BOOTED = ("systemctl", "is-system-running", "--wait")
_GOES_DOWN = (
    *("busctl", "get-property", "org.freedesktop.login1", "/org/freedesktop/login1"),
    *("org.freedesktop.login1.Manager", "PreparingForShutdown"),
)
_UPGRADING = ("versions.installed_version_is_ours", "versions.queen_is_of_the_same_version")
"""What differs from one host to the next while a house is upgraded."""
_AT_BOOT = "nixos.generation_is_booted"
"""Fails after every switch that brings another kernel; that is no failure of the switch."""


class StepFailed(RbeeError):
    """A host did not get through, and the rest was not touched."""

    code = "rollout_stopped"
    exit_code = 1


class Interrupted(StepFailed):
    """A person ended it."""

    code = "interrupted"
    exit_code = EX_INTERRUPTED


class Turn:
    """``change`` for one host; what came of it stands in ``told``, and in ``plan`` what a resume has to know."""

    def __init__(
        self, at: Host, change: Change, plan: Plan, file: PlanFile, *, args: Args, output: Output, drain_s: float
    ) -> None:
        self._host, self._change, self._args, self._output, self._drain_s = at, change, args, output, drain_s
        self._pool = SshPool(dataclasses.replace(at.remote, any_version=True))
        self._tell = teller(at, output)
        self._doing = "looking at it"
        self._drained = ""  # the pool's id, once it may be
        self._changing = False  # once it may not be any more what it was
        self.plan, self._file = plan, file
        self.told: list[str] = []

    async def run(self) -> None:
        """Raises StepFailed with the step, and what to do next."""
        name = self._host.name
        try:
            async with reached(self._args, any_version=True) as queen:
                await self._through(queen)
        except RbeeError as error:
            back = await self._change.way_back(self._host, self._was) if self._changing and self._was else ""
            raise StepFailed(
                f"{name}: {self._doing}: {error.message}",
                hint=self._next_step(from_here(error.hint, name) or "mend it", back),
                details={"host": name, "step": self._doing, "code": error.code, **error.details},
            ) from error
        except asyncio.CancelledError:
            self._output.failure(
                "rbee-keeper", Interrupted(f"{name}: interrupted: {self._doing}", hint=self._next_step("", ""))
            )
            raise

    def _next_step(self, first: str, back: str) -> str:
        """Return what to do, first of all ``first``; ``back`` is how to have the host as it was."""
        steps = [first, f"rbee-keeper pool {self.plan.verb} --resume"]
        undrain = f"rbee-keeper pool undrain {self._drained}"
        ways = [
            "; then ".join(filter(None, steps)),
            f"or have it as it was: {back}" if back else "",
            f"till then {self._host.name} stays drained, or: {undrain}" if self._drained else "",
        ]
        return "; ".join(filter(None, ways))

    async def _through(self, queen: QueenClient) -> None:
        state = await self._pool.get_state()
        await self._registered(queen, state.id)
        await self._looked_at()
        self._begin("preparing")
        if said := await self._change.prepare(self._host, self._tell):
            self._say(said)
        self._begin("draining")
        self._drained = state.id  # as soon as the queen knows: her answer comes once the host knows, too
        await queen.drain_pool(state.id)
        await self._until_quiet(queen, state.id)
        try:
            self._begin(self._change.doing)
            self._changing = True
            await self._change.make(self._host, self._tell)
            await self._until_fit(queen, state)
        except RbeeError as error:
            if self._change.takes_back and self._was:
                await self._taken_back(queen, state, error)
            raise
        await self._undrained(queen, state.id)

    async def _until_fit(self, queen: QueenClient, state: PoolSnapshot) -> None:
        self._begin("waiting for it to be back")
        await self._until_back(queen, state.id)
        self._begin("verifying")
        await self._change.require_made(self._host)
        await self._sound(queen, state)

    async def _sound(self, queen: QueenClient, state: PoolSnapshot) -> None:
        await self._verified()
        self._begin("asking its model")
        await self._pool.undrain_pool()
        self._say(await self._probed(queen, state))

    async def _undrained(self, queen: QueenClient, pool: str) -> None:
        self._begin("undraining")
        await queen.undrain_pool(pool)
        self._drained = ""
        self._say("takes work again")

    async def _taken_back(self, queen: QueenClient, state: PoolSnapshot, error: RbeeError) -> None:
        """Have the host as it was, and at work; ``error``, for which that is done, says how it went."""
        failed = self._doing
        try:
            self._begin("taking it back")
            await self._change.take_back(self._host, self._was, self._tell)
            await self._until_back(queen, state.id)
            await self._sound(queen, state)
            await self._undrained(queen, state.id)
            error.message += f"; it was taken back to {self._was}, and takes work again"
        except RbeeError as another:
            error.message += f"; nor could it be taken back to {self._was}: {self._doing}: {another.message}"
        self._begin(failed)

    @property
    def _was(self) -> str:
        return self.plan.was.get(self._host.name, "")

    @property
    def _before(self) -> tuple[str, ...]:
        """What was wrong with it anyway."""
        return self.plan.failed_before.get(self._host.name, ())

    async def _looked_at(self) -> None:
        """Keep what it is and what fails before anything is done; when it was begun before, what was so then."""
        if self._host.name not in self.plan.failed_before:
            was = await self._change.look(self._host)
            self.plan = self.plan.found(self._host.name, tuple(await self._failing()), was)
            self._file.write(self.plan)

    async def _registered(self, queen: QueenClient, pool: str) -> None:
        try:
            await queen.get_pool(pool)
        except NotFound as error:
            error.hint = f"rbee-keeper pool register {self._host.name}"
            raise

    async def _until_quiet(self, queen: QueenClient, pool: str) -> None:
        began = time.monotonic()
        while jobs := await _running(queen, pool):
            if time.monotonic() - began > self._drain_s:
                raise Timeout(
                    f"{counted(len(jobs), 'job')} not done there after {self._drain_s:g} s: {', '.join(jobs[:3])}"
                )
            await asyncio.sleep(_LOOK_S)
        self._say(f"drained in {seconds_text(time.monotonic() - began)}")

    async def _until_back(self, queen: QueenClient, pool: str) -> None:
        """Wait until ssh, its daemon and the queen's view of it are there again: of now, not of before."""
        began = time.monotonic()
        problem = "the queen has not heard from it"
        while time.monotonic() - began < BACK_S:
            try:
                await self._host.service().start_units()
                asked = time.monotonic()
                seen = await queen.get_pool(pool)
                heard_s = (seen.last_heartbeat_ms or 10**9) / 1000
                if is_there(seen) and asked - heard_s > began and await is_up(self._host.remote):
                    self._say(f"back after {seconds_text(time.monotonic() - began)}")
                    return
            except RbeeError as error:
                problem = error.message
            await asyncio.sleep(_LOOK_S)
        raise Timeout(f"it was not back after {BACK_S:g} s: {problem}")

    async def _verified(self) -> None:
        """Raise when something fails that did not fail before; what a host still settles is looked at again."""
        began = time.monotonic()
        found = await self._failing()
        while new := [check for name, check in found.items() if name != _AT_BOOT and name not in self._before]:
            if time.monotonic() - began > SETTLE_S:
                raise self._not_fit(new)
            await asyncio.sleep(_LOOK_S)
            found = await self._failing()
        said = ["verified"]
        if self._before:
            said.append(f"what failed before: {', '.join(self._before)}")
        if _AT_BOOT in found and _AT_BOOT not in self._before:
            said.append("its new kernel waits for a reboot")
        self._say("; ".join(said))

    async def _failing(self) -> dict[str, dict[str, Any]]:
        report = await verifying.report_of(self._host, self._args, unhashed=True)
        return {
            check["id"]: check
            for check in verifying.failures(report)
            if check["id"] not in _UPGRADING and check["found"] != PoolState.DRAINING.value
        }

    def _not_fit(self, failed: Sequence[dict[str, Any]]) -> StepFailed:
        said = "; ".join(f"{each['id']}: expected {each['expected']}, found {each['found']}" for each in failed)
        return StepFailed(
            f"{counted(len(failed), 'check')} failed: {said}",
            hint=f"on {self._host.name}: {failed[0]['mend']}",
            details={"checks": [check["id"] for check in failed], "mend": failed[0]["mend"]},
        )

    async def _probed(self, queen: QueenClient, before: PoolSnapshot) -> str:
        """Have its model say one token, by a job that only this pool may run although it drains."""
        model = _model_of(before)
        if model is None:
            return "has no model to ask"
        placement: dict[str, Any] = {"pool": before.id, "draining": True}
        wanted: dict[str, Any] = {"model": model, "prompt": "Hello", "max_tokens": 1, "placement": placement}
        wanted |= {"deadline_ms": int(PROBE_S * 1000)}
        job = await queen.submit_job(codec.from_dict(JobSpec, wanted))
        async for _, event in queen.job_events(job.id):
            match event:
                case Failure():
                    raise event.to_error(source=f"pool {before.id}")
                case End():
                    return f"{model} answers"
        raise RbeeError(f"the job {job.id} for {model} ended without an answer")

    def _begin(self, doing: str) -> None:
        self._doing = doing

    def _say(self, sentence: str) -> None:
        self.told.append(sentence)
        if not self._output.as_json:
            self._output.text(f"{self._host.name}  {sentence}\n")


async def is_up(remote: Remote) -> bool:
    """Say whether a host has booted. One that was told to reboot is there for a while longer; its logind knows."""
    if (await remote.run(_GOES_DOWN, check=False)).stdout.split() == ["b", "true"]:
        return False
    return (await remote.run(_BOOTED, timeout_s=BACK_S, check=False)).stdout.strip() != "stopping"


async def _running(queen: QueenClient, pool: str) -> list[str]:
    found = []
    for state in (JobState.DISPATCHED, JobState.RUNNING):
        query = codec.from_dict(JobQuery, {"state": state.value, "limit": 1000})
        found += [job.id for job in await queen.list_jobs(query) if job.pool == pool]
    return found


def _model_of(state: PoolSnapshot) -> str | None:
    """Return what the host was serving; else the smallest of what it has."""
    served = [worker.model for worker in state.workers]
    small = sorted(state.models, key=lambda model: model.size_bytes)
    return next(iter(served), small[0].id if small else None)
