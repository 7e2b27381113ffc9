"""Where a job runs, waits, or is refused."""

import dataclasses

import pytest

from rbee.errors import (
    BackendUnavailable,
    InsufficientMemory,
    InsufficientVram,
    ModelNotFound,
    NoCapacity,
    NotFound,
    RbeeError,
)
from rbee.orchestrator_core import places
from rbee.orchestrator_core.names import Names
from rbee.orchestrator_core.rooms import Place
from rbee.orchestrator_core.scheduling import Decision, Evict, Refuse, Run, Spawn, Wait, decide
from rbee.orchestrator_core.strategies import STRATEGIES
from rbee.orchestrator_core.view import Claim, Use, View
from rbee.wire.catalog import ModelEntry, ModelFile
from rbee.wire.jobs import JobSpec, Placement
from rbee.wire.pools import Need, PoolSnapshot
from rbee.wire.workers import Backend, WorkerSpec, WorkerState
from tests.unit.orchestrator_core.snapshots import GIB, cuda, device, need, registry, rocm, snapshot, view, worker

NAMES = Names(
    [
        ModelEntry(id="tiny", reference="hf:org/tiny::file=t.gguf", aliases=("tiny-0.5m",)),
        ModelEntry(id="big", reference="hf:org/big::file=b.gguf"),
    ]
)


def job(model: str = "tiny", **where: object) -> JobSpec:
    return JobSpec(model=model, prompt="hello", placement=Placement(**where))  # type: ignore[arg-type]


def ask(
    wanted: JobSpec,
    *snapshots: PoolSnapshot,
    busy: dict[str, int] | None = None,
    warm: dict[str, int] | None = None,
    context_tokens: int = 0,
    waited_s: float = 0.0,
    **known: object,
) -> Decision:
    in_flight = {("blep", name): jobs for name, jobs in (busy or {}).items()}
    seen = view(*snapshots, names=NAMES, in_flight=in_flight, **known)  # type: ignore[arg-type]
    read = {("blep", name): length for name, length in (warm or {}).items()}
    return decide(wanted, seen, warm=read, context_tokens=context_tokens, waited_s=waited_s)


def refused(decision: Decision) -> RbeeError:
    assert isinstance(decision, Refuse)
    return decision.error


def test_a_ready_worker_with_a_free_slot_is_taken() -> None:
    assert ask(job(), snapshot("blep", worker())) == Run("blep", "worker-cpu-0")


@pytest.mark.parametrize("spelling", ["tiny", "tiny-0.5m", "hf:org/tiny::file=t.gguf"])
def test_every_spelling_of_a_model_finds_it(spelling: str) -> None:
    assert ask(job(spelling), snapshot("blep", worker())) == Run("blep", "worker-cpu-0")


def test_our_own_count_says_what_is_free_whatever_the_snapshot_says() -> None:
    two = snapshot("blep", worker(0, slots=2), worker(1, slots=2, state=WorkerState.BUSY))
    assert ask(job(), two, busy={"worker-cpu-0": 1}) == Run("blep", "worker-cpu-1")
    assert ask(job(), two, busy={"worker-cpu-1": 1}) == Run("blep", "worker-cpu-0")


def test_an_asleep_worker_is_woken_when_no_other_is_free() -> None:
    asleep = worker(1, state=WorkerState.ASLEEP)
    assert ask(job(), snapshot("blep", worker(0), asleep)) == Run("blep", "worker-cpu-0")
    assert ask(job(), snapshot("blep", worker(0), asleep), busy={"worker-cpu-0": 1}) == Run(
        "blep", "worker-cpu-1", True
    )


def test_a_starting_worker_is_waited_for() -> None:
    starting = snapshot("blep", worker(state=WorkerState.STARTING))
    assert ask(job(), starting) == Wait("worker-cpu-0 on blep is starting")


@pytest.mark.parametrize("state", [WorkerState.DRAINING, WorkerState.FAILED, WorkerState.STOPPED])
def test_a_worker_that_takes_nothing_is_no_worker(state: WorkerState) -> None:
    decision = ask(job(), snapshot("blep", worker(state=state)))
    spec = WorkerSpec(backend=Backend.CPU, model="tiny")
    assert decision == Spawn(Place("blep", "tiny", Backend.CPU), spec, int(GIB * 1.2))


def test_a_second_worker_of_a_model_is_not_put_on_the_same_device() -> None:
    assert ask(job(), snapshot("blep", worker()), busy={"worker-cpu-0": 1}) == Wait("the slot for tiny is busy")


def test_but_on_another_pool_that_has_the_model_once_the_queue_is_deep() -> None:
    pools = snapshot("blep", worker()), snapshot("mac")
    assert ask(job(), *pools, busy={"worker-cpu-0": 1}, waiting={"tiny": 1}) == Wait("the slot for tiny is busy")
    decision = ask(job(), *pools, busy={"worker-cpu-0": 1}, waiting={"tiny": 2})
    assert isinstance(decision, Spawn)
    assert decision.place == Place("mac", "tiny", Backend.CPU)
    assert decision.spec.spare


def test_a_queue_that_is_done_before_another_worker_is_up_is_not_deep() -> None:
    mac = snapshot("mac", devices=(device(),), needs=(need(backend=Backend.CPU, load_ms=9000),))
    pools = snapshot("blep", worker()), mac
    quick = ask(job(), *pools, busy={"worker-cpu-0": 1}, waiting={"tiny": 4}, job_ms={"tiny": 100.0})
    assert quick == Wait("the slot for tiny is busy")
    slow = ask(job(), *pools, busy={"worker-cpu-0": 1}, waiting={"tiny": 4}, job_ms={"tiny": 9000.0})
    assert isinstance(slow, Spawn)


def test_jobs_with_the_same_need_ask_for_the_same_place() -> None:
    first, second = ask(job(), snapshot()), ask(job("tiny-0.5m"), snapshot())
    assert isinstance(first, Spawn) and isinstance(second, Spawn)
    assert first.place == second.place


def test_a_gpu_with_room_is_preferred_and_the_roomiest_taken() -> None:
    decision = ask(job(), snapshot(gpus=2))
    assert isinstance(decision, Spawn)
    assert (decision.place.backend, decision.place.gpu, decision.spec.gpu) == (Backend.CUDA, 1, 1)


def test_a_gpu_request_never_falls_back_to_the_cpu() -> None:
    full = snapshot(gpus=1, size_bytes=3 * GIB)
    anywhere = ask(job(), full)
    assert isinstance(anywhere, Spawn) and anywhere.place.backend is Backend.CPU, "strangers have the GPU"
    assert ask(job(backend="cuda"), full) == Wait("tiny needs 3.6 GiB of GPU memory, gpu 0 of blep has 2.0 GiB free")
    assert refused(ask(job(backend="cuda"), snapshot())).details == {"available": ["cpu"]}


def test_placement_is_honoured() -> None:
    cuda = worker(0, backend=Backend.CUDA, gpu=1)
    here = snapshot("blep", worker(0), cuda, gpus=2)
    assert ask(job(backend="cuda"), here) == Run("blep", "worker-cuda-0")
    assert ask(job(gpu=1), here) == Run("blep", "worker-cuda-0")
    assert ask(job(pool="mac"), here, snapshot("mac", worker(5))) == Run("mac", "worker-cpu-5")
    assert isinstance(refused(ask(job(gpu=7), here)), NoCapacity)
    assert isinstance(refused(ask(job(pool="nowhere"), here)), NotFound)
    assert isinstance(refused(ask(job(backend="abacus"), here)), BackendUnavailable)


def test_what_fits_nowhere_is_refused_with_the_numbers() -> None:
    error = refused(ask(job(), snapshot(size_bytes=10 * GIB)))
    assert isinstance(error, InsufficientMemory)
    assert error.details == {"needed_bytes": 12 * GIB, "free_bytes": 8 * GIB, "total_bytes": 8 * GIB}
    error = refused(ask(job(backend="cuda"), snapshot(size_bytes=10 * GIB, gpus=1)))
    assert isinstance(error, InsufficientVram)


def test_what_would_fit_an_emptier_host_waits() -> None:
    decision = ask(job(), snapshot(size_bytes=4 * GIB, free_bytes=GIB))
    assert isinstance(decision, Wait) and not decision.absent


def test_a_model_nobody_has_is_refused_with_what_to_do() -> None:
    known, unknown = refused(ask(job("big"), snapshot())), refused(ask(job("nonsense"), snapshot()))
    assert isinstance(known, ModelNotFound) and known.hint == "rbee-hive models download big"
    assert isinstance(unknown, ModelNotFound) and unknown.hint == "rbee-hive models catalog"
    assert unknown.details == {"model": "nonsense", "available": ["tiny"]}


@pytest.mark.parametrize(
    ("model", "command"),
    [
        ("hf:a/b:Q5_K_M", "rbee-hive models download hf:a/b"),
        ("hf:a/b", "rbee-hive models download hf:a/b"),
        ("hf:a/b::file=b-Q5_K_M.gguf", "rbee-hive models download hf:a/b::file=b-Q5_K_M.gguf"),
    ],
)
def test_a_file_of_the_hub_that_nobody_has_is_refused_with_what_to_do(model: str, command: str) -> None:
    other = ModelFile(id="b-q8-1", reference="hf:a/b@main::file=b-Q8_0.gguf", paths=(), size_bytes=GIB)
    error = refused(ask(job(model), dataclasses.replace(snapshot(), models=(other,))))
    assert isinstance(error, ModelNotFound)
    assert (error.message, error.hint) == (f"no pool has the model {model}, but of its repository b-q8-1", command)


def test_with_no_pool_here_one_waits() -> None:
    assert ask(job("nonsense")) == Wait("no pool is connected", absent=True)
    assert ask(job(), snapshot("blep", worker()), now_s=60.0) == Wait("no pool is connected; lost: blep", absent=True)


def test_a_queen_that_has_just_started_gives_pools_time_to_speak() -> None:
    assert isinstance(ask(job("nonsense"), snapshot(), settling=True), Wait)


def test_a_lost_pool_that_has_the_model_is_waited_for() -> None:
    known = registry(snapshot("mac", models=("big",)), snapshot(), names=NAMES)
    known.fleet(0.0)
    known.heartbeat(snapshot(), 60.0)
    seen = View(fleet=known.fleet(60.0))
    assert decide(job("big"), seen) == Wait("pool mac, which has big, is lost", absent=True)


def test_a_draining_pool_gets_nothing_new() -> None:
    assert ask(job(), snapshot("blep", worker(), draining=True)) == Wait(
        "pool blep, which has tiny, is draining: its operator said so"
    )


def test_a_worker_asked_for_by_hand_goes_where_the_model_and_most_memory_are() -> None:
    spec = WorkerSpec(backend=Backend.CPU, model="tiny-0.5m")
    pools = registry(snapshot("a", free_bytes=GIB), snapshot("b"), snapshot("c", models=())).view(0.0)
    assert places.pool_for(spec, pools, NAMES) == "b"
    with pytest.raises(ModelNotFound):
        places.pool_for(WorkerSpec(backend=Backend.CPU, model="big"), pools, NAMES)
    with pytest.raises(BackendUnavailable):
        places.pool_for(WorkerSpec(backend=Backend.METAL, model="tiny"), pools, NAMES)
    with pytest.raises(NoCapacity):
        places.pool_for(spec, (), NAMES)


@pytest.mark.parametrize(
    ("strategy", "taken"), [("least-loaded", "worker-cuda-2"), ("most-vram-free", "worker-cuda-0"),
                            ("round-robin", "worker-cuda-1")]
)  # fmt: skip
def test_strategies_differ_where_several_workers_would_do(strategy: str, taken: str) -> None:
    pool = snapshot(
        "blep",
        cuda(0, gpu=0, slots=4),
        cuda(1, gpu=1, slots=4),
        cuda(2, gpu=1, slots=4),
        devices=(device(0, free=4 * GIB), device(1, free=2 * GIB)),
    )
    used = {("blep", "worker-cuda-0"): Use(50.0), ("blep", "worker-cuda-2"): Use(40.0)}
    busy = {"worker-cuda-0": 2, "worker-cuda-1": 1}
    decision = ask(job(), pool, strategy=strategy, used=used, busy=busy, now_s=1.0)
    assert isinstance(decision, Run)
    assert decision.worker == taken
    assert strategy in STRATEGIES


def test_a_worker_that_knows_the_beginning_is_preferred_to_an_emptier_one() -> None:
    two = snapshot("blep", worker(0, slots=4), worker(1, slots=4))
    assert ask(job(), two, busy={"worker-cpu-0": 1}, warm={"worker-cpu-0": 4096}) == Run(
        "blep", "worker-cpu-0", warm_bytes=4096
    )
    assert ask(job(), two, busy={"worker-cpu-0": 1}, warm={"worker-cpu-0": 100}) == Run("blep", "worker-cpu-1")
    assert ask(job(), two, busy={"worker-cpu-0": 4}, warm={"worker-cpu-0": 4096}) == Run("blep", "worker-cpu-1")


def test_a_worker_with_too_little_context_is_none_for_a_long_prompt() -> None:
    two = snapshot("blep", worker(0, ctx=512), worker(1, ctx=4096))
    assert ask(job(), two, context_tokens=1000) == Run("blep", "worker-cpu-1")


# Making room

BIG = need("big", takes=6 * GIB, load_ms=8000)
SMALL = need("tiny", takes=3 * GIB, load_ms=1000)


def one_gpu(*workers: object, free: int = 2 * GIB) -> PoolSnapshot:
    return snapshot(
        "blep",
        *workers,  # type: ignore[arg-type]
        models=("tiny", "big"),
        devices=(device(None, free=0), device(0, free=free)),
        needs=(BIG, SMALL),
    )


def two_gpus(*workers: object, needs: tuple[Need, ...] = (BIG, SMALL)) -> PoolSnapshot:
    """Two GPUs of 8 GiB, with nothing on them but ``workers``, and a CPU with no memory left."""
    held = {each.gpu: each.need_bytes for each in workers}  # type: ignore[attr-defined]
    return snapshot(
        "blep",
        *workers,  # type: ignore[arg-type]
        models=("tiny", "big"),
        devices=(device(None, free=0), *(device(gpu, free=8 * GIB - held.get(gpu, 0)) for gpu in (0, 1))),
        needs=needs,
    )


def two_vendors(*workers: object, free: int = 8 * GIB) -> PoolSnapshot:
    """A GPU of NVIDIA's, and a small one of AMD's in the processor; each is number 0 to its driver."""
    return snapshot(
        "blep",
        *workers,  # type: ignore[arg-type]
        models=("tiny", "big"),
        devices=(device(None, free=0), device(0, free=free), device(0, free=GIB, total=2 * GIB, vendor="amd")),
        needs=(BIG, SMALL, need("tiny", takes=2 * GIB, backend=Backend.ROCM)),
    )


def evicted(decision: Decision) -> list[str]:
    assert isinstance(decision, Evict), decision
    return [victim.worker for victim in decision.victims]


def test_an_idle_worker_of_another_model_has_to_go() -> None:
    decision = ask(job("big"), one_gpu(cuda(0, need=5 * GIB)))
    assert evicted(decision) == ["worker-cuda-0"]
    assert isinstance(decision, Evict)
    assert decision.place == Place("blep", "big", Backend.CUDA, 0)


def test_nobody_has_to_go_where_there_is_room() -> None:
    assert isinstance(ask(job("big"), one_gpu(cuda(0, need=GIB), free=7 * GIB)), Spawn)


def test_no_more_go_than_have_to_and_the_least_worth_first() -> None:
    three = one_gpu(
        cuda(0, need=2 * GIB, load_ms=1000), cuda(1, need=2 * GIB, load_ms=9000), cuda(2, need=2 * GIB, load_ms=1000)
    )
    used = {("blep", f"worker-cuda-{n}"): Use(-idle) for n, idle in ((0, 10), (1, 10), (2, 90))}
    assert evicted(ask(job("big"), three, used=used)) == ["worker-cuda-2", "worker-cuda-0"]
    large = one_gpu(cuda(0, need=GIB, load_ms=10), cuda(1, need=4 * GIB, load_ms=9000))
    assert evicted(ask(job("big"), large)) == ["worker-cuda-1"], "the small one alone would not do, and both need not"


def test_batch_workers_go_before_interactive_ones() -> None:
    two = one_gpu(cuda(0, need=4 * GIB), cuda(1, need=4 * GIB))
    used = {("blep", "worker-cuda-0"): Use(0.0), ("blep", "worker-cuda-1"): Use(3.0, batch=True)}
    assert evicted(ask(job("big"), two, used=used, now_s=5.0)) == ["worker-cuda-1"]


@pytest.mark.parametrize(
    ("stays", "why"),
    [
        (cuda(0, need=6 * GIB, pinned=True), "worker-cuda-0 is pinned"),
        (cuda(0, need=6 * GIB, state=WorkerState.BUSY), "worker-cuda-0 has work"),
        (cuda(0, need=6 * GIB, state=WorkerState.STARTING), "worker-cuda-0 is being loaded"),
    ],
)
def test_who_is_pinned_busy_or_loading_stays_and_one_waits(stays: object, why: str) -> None:
    decision = ask(job("big"), one_gpu(stays))
    assert decision == Wait(f"big needs 6.0 GiB, gpu 0 of blep has 2.0 GiB free: {why}")


def test_our_own_job_counts_as_work_though_the_snapshot_says_ready() -> None:
    assert isinstance(ask(job("big"), one_gpu(cuda(0, need=6 * GIB)), busy={"worker-cuda-0": 1}), Wait)


def test_a_worker_just_loaded_keeps_its_place_while_its_own_jobs_wait() -> None:
    young = dataclasses.replace(one_gpu(cuda(0, need=6 * GIB, load_ms=2000, since_ms=9000)), at_ms=12_000)
    decision = ask(job("big"), young, waiting={"tiny": 3, "big": 1}, now_s=4.0)
    assert isinstance(decision, Wait)
    assert decision.until_s == 9.0, "four times what it took to load, less the 3 s it has had"
    assert "keeps its place for 5 s more" in decision.reason
    old = dataclasses.replace(young, at_ms=18_000)
    assert evicted(ask(job("big"), old, waiting={"tiny": 3, "big": 1})) == ["worker-cuda-0"]
    assert evicted(ask(job("big"), young, waiting={"big": 1})) == ["worker-cuda-0"], "nobody else wants it"
    set_back = dataclasses.replace(young, at_ms=8_000)
    assert evicted(ask(job("big"), set_back, waiting={"tiny": 3, "big": 1})) == ["worker-cuda-0"], "a clock set back"


def test_one_that_is_being_evicted_is_waited_for_and_no_other_has_to_go() -> None:
    pool = one_gpu(cuda(0, need=6 * GIB), cuda(1, need=6 * GIB))
    decision = ask(job("big"), pool, leaving={("blep", "worker-cuda-0")}, spawning={})
    assert decision == Wait("worker-cuda-0 is being evicted to make room")


def test_of_two_gpus_the_one_is_cleared_where_less_is_lost() -> None:
    pool = two_gpus(cuda(0, gpu=0, need=7 * GIB), cuda(1, gpu=1, need=7 * GIB))
    used = {("blep", "worker-cuda-0"): Use(4.9), ("blep", "worker-cuda-1"): Use(1.0)}
    assert evicted(ask(job("big"), pool, used=used, now_s=5.0)) == ["worker-cuda-1"], "it was idle for longer"
    swapped = {("blep", "worker-cuda-0"): Use(1.0), ("blep", "worker-cuda-1"): Use(4.9)}
    assert evicted(ask(job("big"), pool, used=swapped, now_s=5.0)) == ["worker-cuda-0"]


def test_for_a_split_model_each_gpu_is_cleared_and_the_hosts_memory_left_alone() -> None:
    on_cpu = worker(7, model="tiny", need_bytes=7 * GIB)
    pool = two_gpus(cuda(0, gpu=0, need=6 * GIB), on_cpu, needs=(need("big", takes=12 * GIB),))
    assert evicted(ask(job("big"), pool)) == ["worker-cuda-0"]
    both = two_gpus(cuda(0, gpu=0, need=6 * GIB), cuda(1, gpu=1, need=6 * GIB), needs=(need("big", takes=12 * GIB),))
    assert evicted(ask(job("big"), both)) == ["worker-cuda-0", "worker-cuda-1"]
    one_works = ask(job("big"), both, busy={"worker-cuda-0": 1})
    assert isinstance(one_works, Wait) and "the GPUs of blep" in one_works.reason


def test_a_split_spawn_under_way_has_the_memory_of_the_gpus_promised() -> None:
    place = Place("blep", "big", Backend.CUDA, None)
    seen = view(two_gpus(needs=(need("big", takes=12 * GIB),)), names=NAMES, spawning={place: 12 * GIB})
    assert seen.promised == {("blep", ("nvidia", n)): 6 * GIB for n in (0, 1)}


# Whose turn it is


BUSY_GPU = {"worker-cuda-0": 1}


def test_who_waits_for_long_has_those_finish_that_are_in_its_way() -> None:
    pool = one_gpu(cuda(0, need=6 * GIB, slots=4))
    soon = ask(job("big"), pool, busy=BUSY_GPU, waited_s=1.0)
    assert isinstance(soon, Wait) and soon.claim is None, "most jobs are over soon"
    late = ask(job("big"), pool, busy=BUSY_GPU, waited_s=60.0)
    assert isinstance(late, Wait)
    assert late.claim == Claim(
        model="big", workers=frozenset({("blep", "worker-cuda-0")}), devices=frozenset({("blep", ("nvidia", 0))})
    )


def test_who_is_behind_gets_nothing_that_is_claimed() -> None:
    pool = one_gpu(cuda(0, need=6 * GIB, slots=4), cuda(1, model="third", need=GIB, state=WorkerState.ASLEEP))
    late = ask(job("big"), pool, busy=BUSY_GPU, waited_s=60.0)
    assert isinstance(late, Wait) and late.claim is not None
    for model in ("tiny", "third"):
        behind = ask(job(model), pool, busy=BUSY_GPU, claims=(late.claim,))
        assert isinstance(behind, Wait) and "big, whose turn it is" in behind.reason, behind
    assert isinstance(ask(job("third"), pool, busy=BUSY_GPU), Run)


def test_who_may_not_go_is_not_claimed_and_of_two_gpus_the_one_that_is_done_sooner() -> None:
    pinned = one_gpu(cuda(0, need=6 * GIB, pinned=True))
    held = ask(job("big"), pinned, waited_s=60.0)
    assert isinstance(held, Wait) and held.claim is None
    young = dataclasses.replace(one_gpu(cuda(0, need=6 * GIB, load_ms=2000, since_ms=9000, slots=2)), at_ms=12_000)
    tenant = ask(job("big"), young, busy=BUSY_GPU, waiting={"tiny": 3, "big": 1}, waited_s=60.0)
    assert isinstance(tenant, Wait) and tenant.claim is None, "it was loaded for those who wait for it"
    both = two_gpus(cuda(0, gpu=0, need=7 * GIB, slots=4), cuda(1, gpu=1, need=7 * GIB, slots=4))
    sooner = ask(job("big"), both, busy={"worker-cuda-0": 3, "worker-cuda-1": 1}, waited_s=60.0)
    assert isinstance(sooner, Wait) and sooner.claim is not None
    assert sooner.claim.workers == {("blep", "worker-cuda-1")}


def test_an_asleep_worker_wakes_only_where_its_memory_is_free() -> None:
    asleep = cuda(0, model="big", need=6 * GIB, state=WorkerState.ASLEEP)
    assert ask(job("big"), one_gpu(asleep, free=7 * GIB)) == Run("blep", "worker-cuda-0", True)
    assert evicted(ask(job("big"), one_gpu(asleep, cuda(1, need=5 * GIB)))) == ["worker-cuda-1"]


def test_two_gpus_of_one_number_are_told_apart() -> None:
    asleep = cuda(0, model="big", need=6 * GIB, state=WorkerState.ASLEEP)
    assert ask(job("big"), two_vendors(asleep, free=7 * GIB)) == Run("blep", "worker-cuda-0", True)
    both = two_vendors(cuda(0, need=6 * GIB), rocm(1, model="third", need=GIB), free=2 * GIB)
    assert evicted(ask(job("big"), both)) == ["worker-cuda-0"]
    small = job(backend="rocm")
    assert evicted(ask(small, both)) == ["worker-rocm-1"]
    spawning = {Place("blep", "big", Backend.CUDA, 0): 6 * GIB}
    assert view(two_vendors(), names=NAMES, spawning=spawning).promised == {("blep", ("nvidia", 0)): 6 * GIB}


def test_two_models_do_not_wake_into_the_same_memory() -> None:
    both = one_gpu(
        cuda(0, model="big", need=6 * GIB, state=WorkerState.ASLEEP),
        cuda(1, need=3 * GIB, state=WorkerState.ASLEEP),
        free=7 * GIB,
    )
    assert ask(job(), both) == Run("blep", "worker-cuda-1", True)
    assert not isinstance(ask(job(), both, busy={"worker-cuda-0": 1}), Run)


def test_a_spawn_under_way_has_its_memory_promised_until_the_snapshot_shows_it() -> None:
    spawning = {Place("blep", "big", Backend.CUDA, 0): 6 * GIB}
    assert not isinstance(ask(job(), one_gpu(free=8 * GIB), spawning=spawning), Spawn)
    shown = one_gpu(cuda(0, model="big", need=6 * GIB, state=WorkerState.STARTING), free=4 * GIB)
    assert isinstance(ask(job(), shown, spawning=spawning), Spawn)


def test_a_spawn_that_was_begun_is_gone_on_with_and_nobody_is_evicted_for_it_again() -> None:
    pool = one_gpu(cuda(0, need=GIB), free=7 * GIB)
    first = ask(job("big"), pool)
    assert isinstance(first, Spawn)
    assert ask(job("big"), pool, spawning={first.place: first.need}) == first


def test_a_model_too_large_for_one_gpu_is_split_over_several() -> None:
    pool = snapshot(
        "blep",
        devices=(device(0), device(1), device(2, problem="it has fallen off the bus")),
        needs=(need(takes=12 * GIB),),
    )
    decision = ask(job(), pool)
    assert isinstance(decision, Spawn)
    assert decision.place == Place("blep", "tiny", Backend.CUDA, None)
    too_large = snapshot("blep", devices=(device(0), device(1)), needs=(need(takes=20 * GIB),))
    assert isinstance(refused(ask(job(), too_large)), InsufficientVram)


@pytest.mark.parametrize("state", [WorkerState.READY, WorkerState.BUSY, WorkerState.STARTING])
def test_a_model_for_the_gpu_does_not_go_to_the_cpu_while_one_of_ours_has_its_place(state: WorkerState) -> None:
    pool = one_gpu(cuda(0, need=6 * GIB, state=state))
    roomy = dataclasses.replace(
        pool, devices=(device(None), *pool.devices[1:]), needs=(*pool.needs, need("big", backend=Backend.CPU))
    )
    assert isinstance(ask(job("big"), roomy), Evict if state is WorkerState.READY else Wait)
    pinned = dataclasses.replace(roomy, workers=(dataclasses.replace(pool.workers[0], pinned=True),))
    decision = ask(job("big"), pinned)
    assert isinstance(decision, Spawn) and decision.place.backend is Backend.CPU


def test_a_job_waits_for_a_hot_gpu_and_evicts_nobody_for_it() -> None:
    hot = dataclasses.replace(device(0, free=0, problem="it is 85 °C hot"), hot=True)
    asleep = cuda(0, state=WorkerState.ASLEEP)
    idle = cuda(1, model="big")
    for workers in ((), (asleep,), (asleep, idle)):
        decision = ask(job(backend="cuda"), snapshot("blep", *workers, devices=(device(None), hot)))
        assert decision == Wait("gpu 0 of blep: it is 85 °C hot")
    lost = dataclasses.replace(hot, hot=False)
    refused(ask(job(backend="cuda"), snapshot("blep", devices=(device(None), lost))))
