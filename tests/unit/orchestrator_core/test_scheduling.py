"""Where a job runs, waits, or is refused."""

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
from rbee.orchestrator_core.places import Place
from rbee.orchestrator_core.scheduling import POLICIES, Decision, Refuse, Run, Spawn, View, Wait, decide
from rbee.wire.catalog import ModelEntry
from rbee.wire.jobs import JobSpec, Placement
from rbee.wire.pools import PoolSnapshot
from rbee.wire.workers import Backend, WorkerSpec, WorkerState
from tests.unit.orchestrator_core.snapshots import GIB, registry, snapshot, worker

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
    now_s: float = 0.0,
    settling: bool = False,
    policy: str = "least-loaded",
) -> Decision:
    in_flight = {("blep", name): jobs for name, jobs in (busy or {}).items()}
    view = View(pools=registry(*snapshots).view(now_s), names=NAMES, in_flight=in_flight, settling=settling)
    return decide(wanted, view, policy)


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


def test_fill_first_lets_the_others_sleep() -> None:
    two = snapshot("blep", worker(0, slots=2), worker(1, slots=2))
    assert ask(job(), two, busy={"worker-cpu-0": 1}, policy="fill-first") == Run("blep", "worker-cpu-0")
    assert set(POLICIES) == {"least-loaded", "fill-first"}


def test_an_asleep_worker_is_woken_when_no_other_is_free() -> None:
    asleep = worker(1, state=WorkerState.ASLEEP)
    assert ask(job(), snapshot("blep", worker(0), asleep)) == Run("blep", "worker-cpu-0")
    assert ask(job(), snapshot("blep", worker(0), asleep), busy={"worker-cpu-0": 1}) == Run(
        "blep", "worker-cpu-1", True
    )


def test_a_starting_worker_is_waited_for() -> None:
    starting = snapshot("blep", worker(state=WorkerState.STARTING))
    assert ask(job(), starting) == Wait("worker worker-cpu-0 on blep is starting")


@pytest.mark.parametrize("state", [WorkerState.DRAINING, WorkerState.FAILED, WorkerState.STOPPED])
def test_a_worker_that_takes_nothing_is_no_worker(state: WorkerState) -> None:
    decision = ask(job(), snapshot("blep", worker(state=state)))
    assert decision == Spawn(Place("blep", "tiny", Backend.CPU), WorkerSpec(backend=Backend.CPU, model="tiny"))


def test_a_second_worker_of_a_model_is_not_put_on_the_same_device() -> None:
    assert ask(job(), snapshot("blep", worker()), busy={"worker-cpu-0": 1}) == Wait("all 1 slots for tiny are busy")


def test_but_on_another_pool_that_has_the_model() -> None:
    decision = ask(job(), snapshot("blep", worker()), snapshot("mac", instance="instance-1"), busy={"worker-cpu-0": 1})
    assert isinstance(decision, Spawn)
    assert decision.place == Place("mac", "tiny", Backend.CPU)


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
    assert isinstance(ask(job(), full), Spawn)
    assert ask(job(backend="cuda"), full) == Wait(
        f"tiny needs {int(3 * GIB * 1.2)} bytes of GPU memory, blep has {2 * GIB} free"
    )
    assert refused(ask(job(backend="cuda"), snapshot())).details == {"available": ["cpu"]}


def test_placement_is_honoured() -> None:
    cuda = worker(0, backend=Backend.CUDA, gpu=1)
    here = snapshot("blep", worker(0), cuda, gpus=2)
    assert ask(job(backend="cuda"), here) == Run("blep", "worker-cuda-0")
    assert ask(job(gpu=1), here) == Run("blep", "worker-cuda-0")
    assert ask(job(pool="mac"), here, snapshot("mac", worker(5), instance="instance-1")) == Run("mac", "worker-cpu-5")
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


def test_with_no_pool_here_one_waits() -> None:
    assert ask(job("nonsense")) == Wait("no pool is connected", absent=True)
    assert ask(job(), snapshot("blep", worker()), now_s=60.0) == Wait("no pool is connected; lost: blep", absent=True)


def test_a_queen_that_has_just_started_gives_pools_time_to_speak() -> None:
    assert isinstance(ask(job("nonsense"), snapshot(), settling=True), Wait)


def test_a_lost_pool_that_has_the_model_is_waited_for() -> None:
    known = registry(snapshot("mac", models=("big",), instance="instance-1"), snapshot())
    known.heartbeat(snapshot(), 60.0)
    view = View(pools=known.view(60.0), names=NAMES, in_flight={})
    assert decide(job("big"), view) == Wait("pool mac, which has big, is lost", absent=True)


def test_a_draining_pool_gets_nothing_new() -> None:
    assert ask(job(), snapshot("blep", worker(), draining=True)) == Wait("pool blep, which has tiny, is draining")


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
