"""rbee-keeper pool rollout: change one host after the other, and stop before a broken one becomes two.

For each host: drain it, and wait until what runs there has ended; run the command; wait until the host and its pool
are back; verify; ask its model for one token; give it work again.
"""

import asyncio
import dataclasses
import shlex
import time
from collections.abc import Sequence
from typing import Any

from rbee.adapters import process
from rbee.adapters.ssh.pool import SshPool
from rbee.cli.confirm import dry_run
from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.cli.units import parse_seconds, seconds_text
from rbee.client.queen import QueenClient
from rbee.errors import EX_INTERRUPTED, NotFound, RbeeError, Timeout
from rbee.keeper import verifying
from rbee.keeper.hosts import Host, chosen, from_here, host
from rbee.keeper.reach import reached
from rbee.keeper.rollout_plan import Plan, PlanFile
from rbee.keeper.settings import settings_of
from rbee.wire import codec
from rbee.wire.draining import LEAVING
from rbee.wire.envelope import to_envelope
from rbee.wire.events import End, Failure
from rbee.wire.jobs import JobQuery, JobSpec, JobState
from rbee.wire.pools import PoolSnapshot, PoolState
from rbee.wire.words import counted

BACK_S = 600.0
PROBE_S = 300.0
SETTLE_S = 15.0
"""How long a check may fail after the command before it counts: a clock is set, a unit is still starting."""
_LOOK_S = 0.5
_HOST = "{host}"
_BOOTED = ("systemctl", "is-system-running", "--wait")
_UPGRADING = ("versions.installed_version_is_ours", "versions.queen_is_of_the_same_version")
"""What differs from one host to the next while a house is upgraded."""


class StepFailed(RbeeError):
    """A host did not get through, and the rest was not touched."""

    code = "rollout_stopped"
    exit_code = 1


class Interrupted(StepFailed):
    """A person ended it."""

    code = "interrupted"
    exit_code = EX_INTERRUPTED


async def rollout(args: Args, output: Output) -> None:
    """Roll ``-- command`` out over the hosts, or go on with the one that stopped.

    Raises:
        StepFailed: names the host and the step.
        NotFound: there is nothing to resume, or no such host.
        Conflict: another rollout runs, or has stopped, and was not forgotten with ``--yes``.
    """
    file = PlanFile.own()
    if args["--dry-run"]:
        plan = _plan(args, file)
        dry_run(args, output, f"run {shlex.join(plan.command)} for {', '.join(plan.left)}, one after the other")
        return
    with file.alone():
        if not args["--resume"]:
            file.require_none(again=bool(args["--yes"]))
        await _rolled_out(_plan(args, file), args, output, file)


def _plan(args: Args, file: PlanFile) -> Plan:
    if args["--resume"]:
        return file.read()
    return Plan(hosts=tuple(each.name for each in chosen(args)), command=tuple(args["<command>"]))


async def _rolled_out(plan: Plan, args: Args, output: Output, file: PlanFile) -> None:
    drain_s = parse_seconds(args["--drain"], "--drain")
    settings = settings_of(args)
    hosts = [host(settings, name) for name in plan.left]
    file.write(plan)
    told: list[dict[str, Any]] = []
    for each in hosts:
        began = time.monotonic()
        step = _Step(each, args, output, drain_s, plan, file)
        row: dict[str, Any] = {"id": each.name, "ok": False, "steps": step.told}
        told.append(row)
        try:
            await step.run(plan.command)
            row["ok"] = True
        except StepFailed as error:
            row.update(to_envelope(error, source=each.name))
            raise
        finally:
            row["seconds"] = round(time.monotonic() - began, 1)
            if output.as_json and (not row["ok"] or each is hosts[-1]):
                output.table(told, [], none="")
        plan = step.plan.through(each.name)
        file.write(plan)


class _Step:
    """One host's turn."""

    def __init__(self, at: Host, args: Args, output: Output, drain_s: float, plan: Plan, file: PlanFile) -> None:
        self._host, self._args, self._output, self._drain_s = at, args, output, drain_s
        self._pool = SshPool(dataclasses.replace(at.remote, any_version=True))
        self._doing = "looking at it"
        self._drained = ""  # the pool's id, once it is
        self.plan, self._file = plan, file
        self._before: tuple[str, ...] = ()  # what is wrong with it anyway
        self.told: list[str] = []

    async def run(self, command: Sequence[str]) -> None:
        name = self._host.name
        try:
            async with reached(self._args, any_version=True) as queen:
                await self._through(queen, command)
        except RbeeError as error:
            raise StepFailed(
                f"{name}: {self._doing}: {error.message}",
                hint=self._next_step(error),
                details={"host": name, "step": self._doing, "code": error.code, **error.details},
            ) from error
        except asyncio.CancelledError:
            self._output.failure(
                "rbee-keeper", Interrupted(f"{name}: interrupted: {self._doing}", hint=self._next_step(None))
            )
            raise

    def _next_step(self, error: RbeeError | None) -> str:
        """Return what to do after ``error``, or after we were told to end."""
        first = "" if error is None else f"{from_here(error.hint, self._host.name) or 'mend it'}; then "
        after = f"; till then {self._host.name} stays drained, or: rbee-keeper pool undrain {self._drained}"
        return f"{first}rbee-keeper pool rollout --resume{after if self._drained else ''}"

    async def _through(self, queen: QueenClient, command: Sequence[str]) -> None:
        state = await self._pool.get_state()
        await self._registered(queen, state.id)
        self._before = await self._wrong_before()
        self._begin("draining")
        await queen.drain_pool(state.id)
        self._drained = state.id
        await self._until_quiet(queen, state.id)
        self._begin("running the command")
        await self._command(command)
        self._begin("waiting for it to be back")
        await self._until_back(queen, state.id)
        self._begin("verifying")
        await self._verified()
        self._begin("asking its model")
        await self._pool.undrain_pool()
        self._say(await self._probed(queen, state))
        self._begin("undraining")
        await queen.undrain_pool(state.id)
        self._drained = ""
        self._say("takes work again")

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

    async def _command(self, command: Sequence[str]) -> None:
        argv = [word.replace(_HOST, self._host.name) for word in command]
        done = await process.told(argv, lambda line, _: self._output.say(f"{self._host.name}  | {line}"), leash=False)
        if done.returncode != 0:
            raise process.failed(done)

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
                here = seen.state is not PoolState.LOST and seen.drain_reason not in LEAVING
                if here and asked - heard_s > began:
                    await self._host.remote.run(_BOOTED, timeout_s=BACK_S, check=False)
                    self._say(f"back after {seconds_text(time.monotonic() - began)}")
                    return
            except RbeeError as error:
                problem = error.message
            await asyncio.sleep(_LOOK_S)
        raise Timeout(f"it was not back after {BACK_S:g} s: {problem}")

    async def _verified(self) -> None:
        """Raise when something fails that did not fail before; what a host still settles is looked at again."""
        began = time.monotonic()
        while new := {name: check for name, check in (await self._failing()).items() if name not in self._before}:
            if time.monotonic() - began > SETTLE_S:
                raise self._not_fit(list(new.values()))
            await asyncio.sleep(_LOOK_S)
        self._say("verified" if not self._before else f"verified; what failed before: {', '.join(self._before)}")

    async def _wrong_before(self) -> tuple[str, ...]:
        """Return what fails before anything is done; when it was begun before, what failed then."""
        name = self._host.name
        if name not in self.plan.failed_before:
            self.plan = self.plan.found(name, tuple(await self._failing()))
            self._file.write(self.plan)
        return self.plan.failed_before[name]

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
