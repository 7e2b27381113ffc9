"""What PoolOps promises, held by the host itself, by its daemon and by rbee-hive over ssh alike (SPEC rule 2)."""

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from rbee.errors import (
    BackendUnavailable,
    Conflict,
    InsufficientMemory,
    InvalidRequest,
    ModelNotFound,
    NoCapacity,
    NotFound,
    RbeeError,
    ShuttingDown,
    WorkerOom,
)
from rbee.pool_core.ops import PoolOps
from rbee.pool_core.syncing import failures
from rbee.wire.catalog import DownloadSpec, ImportSpec
from rbee.wire.git import ChangeState, GitChange, GitSyncSpec
from rbee.wire.pools import Gpu
from rbee.wire.sync import SyncAction, SyncSpec, SyncState
from rbee.wire.workers import Backend, SpawnEvent, WorkerExit, WorkerSpec, WorkerState
from tests.contract.conftest import WAYS, reached
from tests.fakes.pool import CHECKOUT, GIB, TINY, FakePool
from tests.support.sshd import Sshd

CPU = WorkerSpec(backend=Backend.CPU, model="tiny")
OOM = WorkerExit(
    result="oom-kill", oom=True, memory_peak_bytes=GIB, memory_limit_bytes=GIB, at_ms=6000, log=("loading", "gone")
)


async def each(events: AsyncIterator[SpawnEvent]) -> list[SpawnEvent]:
    return [event async for event in events]


# The pool


async def test_state_is_whole_and_has_no_secrets(ops: PoolOps) -> None:
    await each(ops.spawn_worker(CPU))
    state = await ops.get_state()
    assert (state.id, state.at_ms, state.draining) == ("blep", 5000, False)
    assert [worker.id for worker in state.workers] == ["worker-cpu-0"]
    assert state.models == (TINY,)
    assert state.worker_secrets == {}


async def test_no_gpus_has_its_reason(ops: PoolOps) -> None:
    assert (await ops.list_gpus()).reason == "NVML is not installed"


async def test_gpus(pool: FakePool, ops: PoolOps) -> None:
    pool.gpus.gpus = (Gpu(index=0, name="RTX 3060", memory_total_bytes=12 * GIB, power_w=31.5),)
    assert (await ops.list_gpus()).gpus == pool.gpus.gpus


async def test_draining_refuses_new_workers_until_undrained(ops: PoolOps) -> None:
    await ops.drain_pool()
    assert (await ops.get_state()).draining
    with pytest.raises(ShuttingDown, match="pool blep is draining"):
        await each(ops.spawn_worker(CPU))
    await ops.undrain_pool()
    assert (await each(ops.spawn_worker(CPU)))[-1].worker is not None


async def test_a_drain_may_have_a_deadline(ops: PoolOps) -> None:
    await ops.drain_pool(90)
    assert (await ops.get_state()).drain_until_ms == 95_000
    await ops.undrain_pool()
    assert (await ops.get_state()).drain_until_ms is None
    await ops.drain_pool()
    state = await ops.get_state()
    assert (state.draining, state.drain_until_ms) == (True, None)


# Workers


async def test_a_spawn_tells_its_progress_and_ends_with_the_worker(ops: PoolOps) -> None:
    first, *_, last = await each(ops.spawn_worker(CPU))
    assert (first.state, first.progress, first.worker) == ("progress", 0.4, None)
    assert last.state == "ready"
    assert last.worker == await ops.get_worker("worker-cpu-0")
    assert last.worker.state is WorkerState.READY


async def test_a_lazy_worker_sleeps_behind_its_socket(ops: PoolOps) -> None:
    events = await each(ops.spawn_worker(WorkerSpec(backend=Backend.CPU, model="tiny", lazy=True)))
    assert [event.state for event in events] == ["ready"]
    assert events[0].worker is not None
    assert events[0].worker.state is WorkerState.ASLEEP


async def test_numbers_arrive_as_they_were_asked_for(ops: PoolOps) -> None:
    spec = WorkerSpec(
        backend=Backend.CPU, model="tiny", id="big", ctx=512, slots=3, memory_bytes=600 << 20, idle_s=7,
        cpu_percent=150, priority=-5,
    )  # fmt: skip
    worker = (await each(ops.spawn_worker(spec)))[-1].worker
    assert worker is not None
    assert (worker.id, worker.ctx, worker.slots, worker.idle_s) == ("big", 512, 3, 7)
    assert (worker.memory_limit_bytes, worker.priority) == (600 << 20, -5)


async def test_workers_are_listed_stopped_and_gone(ops: PoolOps) -> None:
    await each(ops.spawn_worker(CPU))
    await each(ops.spawn_worker(CPU))
    assert [worker.id for worker in await ops.list_workers()] == ["worker-cpu-0", "worker-cpu-1"]
    await ops.stop_worker("worker-cpu-0")
    assert [worker.id for worker in await ops.list_workers()] == ["worker-cpu-1"]


async def test_an_evicted_worker_sleeps_and_one_with_work_stays(pool: FakePool, ops: PoolOps) -> None:
    await each(ops.spawn_worker(CPU))
    pool.control.busy = True
    with pytest.raises(Conflict, match="has 1 requests"):
        await ops.evict_worker("worker-cpu-0")
    pool.control.busy = False
    await ops.evict_worker("worker-cpu-0")
    assert (await ops.get_worker("worker-cpu-0")).state is WorkerState.ASLEEP
    await ops.evict_worker("worker-cpu-0")
    assert len(pool.control.slept) == 1, "one that sleeps is not asked"
    with pytest.raises(NotFound):
        await ops.evict_worker("nobody")


async def test_a_pinned_worker_is_not_evicted(pool: FakePool, ops: PoolOps) -> None:
    made = (await each(ops.spawn_worker(dataclasses.replace(CPU, pinned=True))))[-1].worker
    assert made is not None and made.pinned
    with pytest.raises(Conflict, match="is pinned"):
        await ops.evict_worker("worker-cpu-0")
    assert pool.control.slept == []


async def test_draining_a_worker_takes_its_socket_and_lets_it_finish(pool: FakePool, ops: PoolOps) -> None:
    await each(ops.spawn_worker(CPU))
    await ops.drain_worker("worker-cpu-0")
    assert pool.units.released == ["worker-cpu-0"]
    assert pool.control.drained == [("127.0.0.1:8001", "secret of worker-cpu-0")]


async def test_logs_are_the_last_lines(ops: PoolOps) -> None:
    await each(ops.spawn_worker(CPU))
    assert [line.message for line in await ops.worker_logs("worker-cpu-0", 2)] == [
        "line 3 of worker-cpu-0",
        "line 4 of worker-cpu-0",
    ]


async def test_a_worker_that_dies_loading_is_removed_and_says_how(pool: FakePool, ops: PoolOps) -> None:
    pool.units.will_end = OOM
    with pytest.raises(WorkerOom) as raised:
        await each(ops.spawn_worker(CPU))
    assert raised.value.details["log"] == ["loading", "gone"]
    assert await ops.list_workers() == ()


# What is declared


async def test_a_sync_tells_each_step_and_ends_with_the_outcome(pool: FakePool, ops: PoolOps) -> None:
    await each(ops.spawn_worker(CPU))
    planned = [event async for event in ops.sync(SyncSpec(dry_run=True, prune=True))]
    assert [event.state for event in planned] == ["done"]
    assert planned[0].outcome is not None
    [step] = planned[0].outcome.steps
    assert (step.id, step.action, step.state) == ("worker-cpu-0", SyncAction.STOP, SyncState.PLANNED)
    first, *_, last = [event async for event in ops.sync(SyncSpec(prune=True))]
    assert (first.state, first.outcome, last.state) == ("progress", None, "done")
    assert last.outcome is not None
    assert [step.state for step in last.outcome.steps] == [SyncState.DONE]
    assert await ops.list_workers() == ()


async def test_a_step_that_failed_is_in_the_outcome_with_its_error(pool: FakePool, ops: PoolOps) -> None:
    await each(ops.spawn_worker(CPU))
    pool.units.busy = {"worker-cpu-0"}
    outcome = [event async for event in ops.sync(SyncSpec(prune=True))][-1].outcome
    assert outcome is not None
    [(step, error)] = failures(outcome)
    assert (step.id, error.code, error.exit_code) == ("worker-cpu-0", "timeout", 75)
    assert error.hint == "then: rbee-hive sync"


# Models


async def test_models_and_catalog(ops: PoolOps) -> None:
    assert await ops.list_models() == (TINY,)
    assert [(entry.id, entry.present) for entry in await ops.list_catalog()] == [("tiny", True)]
    assert await ops.get_model("tiny") == TINY


async def test_a_download_ends_with_the_file(ops: PoolOps) -> None:
    events = [event async for event in ops.download_model(DownloadSpec(model="qwen"))]
    assert events[-1].model is not None
    assert (events[-1].state, events[-1].model.id) == ("done", "qwen")


async def test_import_verify_delete(ops: PoolOps) -> None:
    assert (await ops.import_model(ImportSpec(path="/models/a.gguf", id="a"))).paths == ("/models/a.gguf",)
    assert (await ops.verify_model("tiny")).ok
    await ops.delete_model("tiny")
    assert await ops.list_models() == ()


async def test_a_model_is_held_in_memory_until_it_is_let_go(ops: PoolOps) -> None:
    assert (await ops.cache_model("tiny")).cached
    assert (await ops.cache_model("tiny")).cached
    assert [model.cached for model in await ops.list_models()] == [True]
    assert [model.cached for model in (await ops.get_state()).models] == [True]
    with pytest.raises(Conflict, match="held in memory"):
        await ops.delete_model("tiny")
    await ops.uncache_model("tiny")
    assert not (await ops.get_model("tiny")).cached


async def test_the_checkout_is_shown_and_updated(pool: FakePool, ops: PoolOps) -> None:
    assert await ops.git_status() == CHECKOUT
    assert [module.id for module in await ops.git_submodules()] == ["lib"]
    assert (await ops.git_pull()).after == "b"
    pool.checkout.dirty = (GitChange(path="a b", state=ChangeState.MODIFIED),)
    with pytest.raises(Conflict, match="local changes"):
        await ops.git_pull()
    assert (await ops.git_sync(GitSyncSpec(discard=True))).discarded == pool.checkout.dirty


# Refusals: the same class, sentence, hint and details, whoever says it

Question: TypeAlias = Callable[[PoolOps], Awaitable[Any]]


def spawning(**fields: Any) -> Question:
    spec = WorkerSpec(**{"backend": Backend.CPU, "model": "tiny", **fields})
    return lambda ops: each(ops.spawn_worker(spec))


REFUSALS: dict[str, tuple[type[RbeeError], Question]] = {
    "no such worker": (NotFound, lambda ops: ops.get_worker("nobody")),
    "stop no such worker": (NotFound, lambda ops: ops.stop_worker("nobody")),
    "drain no such worker": (NotFound, lambda ops: ops.drain_worker("nobody")),
    "logs of no such worker": (NotFound, lambda ops: ops.worker_logs("nobody")),
    "logs of no possible worker": (InvalidRequest, lambda ops: ops.worker_logs("x y;$(id)")),
    "no such model": (ModelNotFound, lambda ops: ops.get_model("llama9")),
    "a model with a path's name": (ModelNotFound, lambda ops: ops.get_model("../../etc/passwd")),
    "a model with a reference's name": (ModelNotFound, lambda ops: ops.get_model("hf:org/repo@main::file=a b?.gguf")),
    "delete no such model": (ModelNotFound, lambda ops: ops.delete_model("llama9")),
    "delete a model in use": (Conflict, lambda ops: ops.delete_model("tiny")),
    "hold no such model": (ModelNotFound, lambda ops: ops.cache_model("llama9")),
    "let go of what nobody holds": (NotFound, lambda ops: ops.uncache_model("tiny")),
    "spawn no such model": (ModelNotFound, spawning(model="llama9")),
    "spawn under a name in use": (Conflict, spawning(id="worker-cpu-0")),
    "spawn under a unit's name": (InvalidRequest, spawning(id="a.service")),
    "spawn on a backend that is not there": (BackendUnavailable, spawning(backend=Backend.CUDA)),
    "spawn on a GPU that a CPU is not": (InvalidRequest, spawning(gpu=0)),
    "spawn with more context than was trained": (InvalidRequest, spawning(ctx=1 << 20)),
    "spawn with more memory than there is": (InsufficientMemory, spawning(memory_bytes=99 * GIB)),
    "spawn where no port is free": (NoCapacity, spawning(id="b")),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_refusal_is_the_same_whoever_says_it(name: str, pool: FakePool, far: Sshd) -> None:
    expected, question = REFUSALS[name]
    await each(pool.service.spawn_worker(CPU))
    if expected is NoCapacity:
        pool.units.strangers = set(pool.facts.ports)
    said = []
    for way in WAYS:
        async with reached(way, pool, far) as ops:
            with pytest.raises(expected) as raised:
                await question(ops)
        said.append((type(raised.value), raised.value.message, raised.value.hint, raised.value.details))
    assert said[0] == said[1] == said[2]
    assert said[0][0] is expected
    assert [worker.id for worker in await pool.service.list_workers()] == ["worker-cpu-0"]
