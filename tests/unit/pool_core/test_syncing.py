"""A sync on a host in memory: what is told, in which order things are done, and what one failure does to the rest."""

import asyncio
import dataclasses
from typing import Any

from rbee.errors import InsufficientMemory, RbeeError
from rbee.pool_core import unit
from rbee.pool_core.declared import Declaration
from rbee.pool_core.syncing import failures
from rbee.pool_core.usual import Usual
from rbee.wire.sync import SyncEvent, SyncOutcome, SyncSpec, SyncState
from rbee.wire.workers import Backend, WorkerExit, WorkerShape, WorkerSpec, WorkerState
from tests.fakes.pool import ASLEEP, GIB, PLAN, FakePool, facts_of

SHAPE = WorkerShape(backend=Backend.CPU, model="tiny")


def house(*workers: str, models: tuple[str, ...] = (), **shape: Any) -> FakePool:
    """Return a host for which these workers and models are declared."""
    shapes = {worker: dataclasses.replace(SHAPE, **shape) for worker in workers}
    pool = FakePool(declaration=Declaration(models=models, workers=shapes))
    pool.models.hub = {"tiny", "big"}
    return pool


def declare(pool: FakePool, worker: str, **shape: Any) -> None:
    """Declare one of the workers otherwise."""
    shapes = {**pool.declaration.workers, worker: dataclasses.replace(SHAPE, **shape)}
    pool.declaration = dataclasses.replace(pool.declaration, workers=shapes)


def say_of_tiny(pool: FakePool, **usual: Any) -> None:
    """Say how workers of tiny are made."""
    pool.facts = dataclasses.replace(pool.facts, usual={"tiny": Usual(**usual)})


async def events_of(pool: FakePool, **spec: bool) -> list[SyncEvent]:
    return [event async for event in pool.service.sync(SyncSpec(**spec))]


async def synced(pool: FakePool, **spec: bool) -> SyncOutcome:
    outcome = (await events_of(pool, **spec))[-1].outcome
    assert outcome is not None
    return outcome


def told(outcome: SyncOutcome) -> list[tuple[str, str, str]]:
    return [(step.action.value, step.id, step.state.value) for step in outcome.steps]


def only_failure(outcome: SyncOutcome) -> tuple[str, RbeeError]:
    [(step, error)] = failures(outcome)
    return step.id, error


async def test_declared_workers_come_up_with_their_mark_and_again_is_nothing() -> None:
    pool = house("chat", "embed")
    assert told(await synced(pool)) == [("start", "chat", "done"), ("start", "embed", "done")]
    workers = await pool.service.list_workers()
    assert [(worker.id, worker.state, worker.declared) for worker in workers] == [
        ("chat", WorkerState.READY, True),
        ("embed", WorkerState.READY, True),
    ]
    again = await synced(pool)
    assert (again.steps, again.unchanged) == ((), ("chat", "embed"))


async def test_nobody_can_set_the_mark_over_http() -> None:
    assert "declared" not in {field.name for field in dataclasses.fields(WorkerSpec)}
    pool = house()
    async for _ in pool.service.spawn_worker(WorkerSpec(backend=Backend.CPU, model="tiny", id="mine")):
        pass
    assert not (await pool.service.get_worker("mine")).declared
    assert told(await synced(pool)) == [("keep", "mine", "kept")]
    assert told(await synced(pool, prune=True)) == [("stop", "mine", "done")]


async def test_a_dry_run_tells_the_steps_and_takes_none() -> None:
    pool = house("chat", models=("big",))
    pool.units.workers["old"] = facts_of(dataclasses.replace(PLAN, id="old", declared=True))
    outcome = await synced(pool, dry_run=True)
    assert told(outcome) == [("fetch", "big", "planned"), ("stop", "old", "planned"), ("start", "chat", "planned")]
    assert outcome.dry_run
    assert (set(pool.units.workers), set(pool.models.files)) == ({"old"}, {"tiny"})


async def test_a_dry_run_says_of_a_file_that_nobody_put_there_that_it_is_not_fetched() -> None:
    """It says all that the sync says."""
    pool = house("chat", "other", models=("big",))
    declare(pool, "chat", model="mine")
    pool.models.declared = {"mine"}
    pool.models.hub = {"big"}
    foreseen = await synced(pool, dry_run=True)
    assert told(foreseen) == [
        ("fetch", "mine", "failed"),
        ("fetch", "big", "planned"),
        ("start", "chat", "failed"),
        ("start", "other", "planned"),
    ]
    done = await synced(pool)
    assert {(s.id, str(s.error)) for s in done.steps if s.error} == {
        (s.id, str(s.error)) for s in foreseen.steps if s.error
    }


async def test_models_are_fetched_those_of_workers_as_well() -> None:
    pool = house("chat", models=("big",))
    declare(pool, "chat", model="tiny")
    del pool.models.files["tiny"]
    events = await events_of(pool)
    assert [(event.message, event.progress) for event in events[1:3]] == [
        ("fetching big", 0.25),
        ("fetching big", None),
    ]
    assert events[-1].outcome is not None
    assert told(events[-1].outcome) == [("fetch", "big", "done"), ("fetch", "tiny", "done"), ("start", "chat", "done")]
    assert set(pool.models.files) == {"tiny", "big"}


async def test_a_changed_one_is_drained_and_made_anew_and_no_other_is_touched() -> None:
    pool = house("chat", "embed")
    await synced(pool)
    before = pool.units.workers["embed"]
    declare(pool, "chat", idle_s=60)
    outcome = await synced(pool)
    assert told(outcome) == [("replace", "chat", "done")]
    assert outcome.steps[0].why == "idle_s is 300, declared is 60"
    assert outcome.unchanged == ("embed",)
    assert pool.units.released == ["chat"], "its answers were let finish"
    assert [address for address, _ in pool.control.drained] == ["127.0.0.1:8001"]
    assert (await pool.service.get_worker("chat")).idle_s == 60
    assert pool.units.workers["embed"] is before


async def test_one_that_still_answers_is_said_and_done_by_the_next_sync() -> None:
    pool = house("chat", "embed")
    await synced(pool)
    pool.units.busy = {"chat"}
    declare(pool, "chat", idle_s=60)
    worker, error = only_failure(await synced(pool))
    assert (worker, error.code, error.exit_code) == ("chat", "timeout", 75)
    assert "worker chat still has work after 40 s" in error.message
    assert (await pool.service.get_worker("chat")).state is WorkerState.DRAINING
    pool.units.workers["chat"] = dataclasses.replace(pool.units.workers["chat"], status_text="draining")
    pool.units.busy = set()
    assert told(await synced(pool)) == [("replace", "chat", "done")]
    assert len(pool.control.drained) == 1, "once is enough"


async def test_one_that_sleeps_sleeps_on_as_the_new_one_though_memory_is_taken() -> None:
    pool = house("chat")
    await synced(pool)
    pool.units.workers["chat"] = dataclasses.replace(pool.units.workers["chat"], **ASLEEP)
    declare(pool, "chat", idle_s=60)
    pool.host.available_bytes = 0
    assert told(await synced(pool)) == [("replace", "chat", "done")]
    made = await pool.service.get_worker("chat")
    assert (made.state, made.idle_s) == (WorkerState.ASLEEP, 60)
    assert pool.control.drained == []


async def test_a_lazy_one_needs_no_memory_yet() -> None:
    pool = house("chat", lazy=True)
    pool.host.available_bytes = 0
    assert told(await synced(pool)) == [("start", "chat", "done")]
    assert (await pool.service.get_worker("chat")).state is WorkerState.ASLEEP


async def test_a_step_that_fails_does_not_keep_the_others_from_being_taken() -> None:
    pool = house("chat", "large", "odd", models=("nowhere",))
    declare(pool, "large", memory_bytes=100 * GIB)
    declare(pool, "odd", model="unheard-of")
    outcome = await synced(pool)
    assert told(outcome) == [
        ("fetch", "nowhere", "failed"),
        ("fetch", "unheard-of", "failed"),
        ("start", "chat", "done"),
        ("start", "large", "failed"),
        ("start", "odd", "failed"),
    ]
    errors = {step.id: error for step, error in failures(outcome)}
    assert isinstance(errors["large"], InsufficientMemory)
    assert errors["nowhere"].hint == "rbee-hive models catalog"
    assert "its model unheard-of could not be fetched: the hub has no unheard-of" in errors["odd"].message


async def test_a_worker_stays_when_what_it_should_become_cannot_be() -> None:
    pool = house("chat")
    await synced(pool)
    for cannot in ({"ctx": 4096}, {"backend": Backend.CUDA}, {"model": "nowhere"}):
        declare(pool, "chat", **cannot)
        outcome = await synced(pool)
        assert outcome.steps[-1].state is SyncState.FAILED
        assert (await pool.service.get_worker("chat")).state is WorkerState.READY


async def test_one_that_does_not_come_up_is_a_failure_with_its_code() -> None:
    pool = house("chat")
    pool.units.will_end = WorkerExit(result="oom-kill", code="killed/KILL", oom=True, at_ms=6000)
    _, error = only_failure(await synced(pool))
    assert error.code == "worker_oom"


async def test_a_pool_that_drains_fetches_and_stops_but_starts_nothing() -> None:
    pool = house("chat", "embed", models=("big",))
    pool.units.workers["embed"] = facts_of(dataclasses.replace(PLAN, id="embed", declared=True))
    pool.units.workers["old"] = facts_of(dataclasses.replace(PLAN, id="old", declared=True))
    pool.flag.draining = True
    outcome = await synced(pool)
    assert told(outcome) == [
        ("fetch", "big", "done"),
        ("stop", "old", "done"),
        ("replace", "embed", "failed"),
        ("start", "chat", "failed"),
    ]
    assert {error.code for _, error in failures(outcome)} == {"shutting_down"}
    assert set(pool.units.workers) == {"embed"}


async def test_a_second_sync_waits_for_the_first_and_finds_nothing_to_do() -> None:
    pool = house("chat")
    async with pool.turn.lock:
        second = pool.service.sync(SyncSpec())
        assert (await anext(second)).message == "looking at what runs"
        waiting = asyncio.ensure_future(anext(second))
        await asyncio.sleep(0)
        assert not waiting.done()
        pool.units.workers["chat"] = facts_of(dataclasses.replace(PLAN, id="chat", declared=True, ctx=2048, slots=1))
    outcome = (await waiting).outcome
    assert outcome is not None
    assert (outcome.steps, outcome.unchanged) == ((), ("chat",))


async def test_conversations_kept_by_the_setting_alone_are_no_difference_where_there_is_no_room() -> None:
    pool = house("chat")
    pool.facts = dataclasses.replace(pool.facts, keep=True)
    pool.host.room_bytes = 0
    await synced(pool)
    assert not unit.plan_from_argv(pool.units.workers["chat"].argv).keep
    assert (await synced(pool)).unchanged == ("chat",)
    pool.host.room_bytes = 100 * GIB
    assert (await synced(pool)).unchanged == ("chat",), "what the disk has room for now is no declaration"
    declare(pool, "chat", keep=True)
    assert (await synced(pool)).steps[0].why == "keep is off, declared is on"
    pool.host.room_bytes = 0
    assert (await synced(pool)).unchanged == ("chat",)


async def test_one_whose_sync_was_cut_short_after_its_socket_was_closed_is_told_by_the_next() -> None:
    pool = house("chat")
    await synced(pool)
    await pool.units.release("chat")
    assert told(await synced(pool)) == [("replace", "chat", "done")]
    assert len(pool.control.drained) == 1, "else it would go on until it is idle, and nobody could reach it"


async def test_what_could_never_be_made_here_ends_nobody() -> None:
    pool = house("chat")
    await synced(pool)
    declare(pool, "chat", memory_bytes=1 << 45)
    foreseen = await synced(pool, dry_run=True)
    [step] = (await synced(pool)).steps
    assert foreseen.steps == (step,), "a dry run says so as well"
    assert (step.action.value, step.state.value) == ("keep", "failed")
    assert step.why == "it stays as it is: memory_bytes is none, declared is 35184372088832"
    assert (step.error or {})["code"] == "insufficient_memory"
    assert (await pool.service.get_worker("chat")).state is WorkerState.READY


async def test_whoever_has_his_model_waits_for_nobodys_download() -> None:
    pool = house("chat", models=("big",))
    messages = [event.message for event in await events_of(pool)]
    assert messages.index("chat is started") < messages.index("fetching big")


async def test_a_worker_whose_model_has_come_anew_is_made_anew() -> None:
    pool = house("chat")
    await synced(pool)
    del pool.models.files["tiny"]
    outcome = await synced(pool)
    assert told(outcome) == [("fetch", "tiny", "done"), ("replace", "chat", "done")]
    assert outcome.steps[1].why == "its model tiny was fetched anew"


async def test_what_is_said_of_a_model_is_how_its_declared_workers_are_made_and_a_change_of_it_is_one() -> None:
    pool = house("chat", "own", slots=2)
    declare(pool, "own", slots=2, idle_s=60)
    say_of_tiny(pool, idle_s=900, priority=7)
    await synced(pool)
    made = {worker.id: (worker.idle_s, worker.priority) for worker in await pool.service.list_workers()}
    assert made == {"chat": (900, 7), "own": (60, 7)}
    say_of_tiny(pool, idle_s=300, priority=7)
    outcome = await synced(pool)
    assert [(step.action.value, step.id, step.why) for step in outcome.steps] == [
        ("replace", "chat", "idle_s is 900, declared is 300")
    ]
    assert outcome.unchanged == ("own",)
