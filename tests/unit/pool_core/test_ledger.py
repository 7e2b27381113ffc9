"""Memory is never promised twice, strangers count, and what is measured is believed."""

import dataclasses
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.pool_core import ledger, memory
from rbee.pool_core.ledger import Survey
from rbee.pool_core.ports import Measured, Resident
from rbee.wire.pools import Device, Gpu, GpuInventory, GpuProcess, HostResources
from rbee.wire.workers import Backend, WorkerState, WorkerStatus
from tests.fakes.pool import FACTS, GIB, TINY, load

MODEL = dataclasses.replace(
    TINY, id="small", sha256="abc", size_bytes=2 * GIB, kv_bytes_per_token=1 << 16, heads=8, vocabulary=32_000,
    embedding_length=1024, feed_forward_length=4096,
)  # fmt: skip
FURTHER = memory.further_bytes(MODEL, load(Backend.CUDA, ctx=2048, slots=1))
NEED = memory.device_bytes(MODEL, load(Backend.CUDA, ctx=2048, slots=1))
OWN = memory.own_bytes(MODEL, load(ctx=2048, slots=1))


def worker(number: int = 0, *, pid: int | None = 100, gpu: int | None = 0, **facts: Any) -> WorkerStatus:
    given = {"state": WorkerState.READY, "backend": Backend.CUDA, "ctx": 2048, "slots": 1, "model": "small", **facts}
    return WorkerStatus(id=f"worker-{number}", address="", pid=pid, gpu=gpu, **given)


def gpu(index: int = 0, *processes: GpuProcess, total: int = 24 * GIB, used: int | None = None, **facts: Any) -> Gpu:
    taken = sum(each.memory_bytes or 0 for each in processes) if used is None else used
    return Gpu(index=index, name="x", memory_total_bytes=total, memory_used_bytes=taken, processes=processes, **facts)


def survey(*gpus: Gpu, workers: tuple[WorkerStatus, ...] = (), available: int = 8 * GIB, **facts: Any) -> Survey:
    given = {"resident": {}, "known": {}, "models": [MODEL], "backends": [Backend.CPU, Backend.CUDA], **facts}
    host = HostResources(cpus=2, memory_total_bytes=16 * GIB, memory_available_bytes=available, disk_free_bytes=0)
    return Survey(inventory=GpuInventory(gpus=gpus), workers=workers, host=host, **given)


def on_gpu(seen: Survey, index: int = 0) -> Device:
    return next(line for line in ledger.devices(seen) if line.gpu == index)


def test_an_empty_gpu_is_free() -> None:
    line = on_gpu(survey(gpu()))
    assert (line.free_bytes, line.reserved_bytes, line.foreign_bytes) == (24 * GIB, 0, 0)
    assert line.backends == (Backend.CUDA,)


def test_a_game_is_a_stranger_and_what_it_takes_is_gone() -> None:
    line = on_gpu(survey(gpu(0, GpuProcess(pid=7, memory_bytes=6 * GIB))))
    assert (line.free_bytes, line.foreign_bytes) == (18 * GIB, 6 * GIB)


def test_what_the_driver_itself_uses_is_nobodys_and_counts() -> None:
    line = on_gpu(survey(gpu(0, GpuProcess(pid=7, memory_bytes=GIB), used=2 * GIB)))
    assert line.foreign_bytes == 2 * GIB


def test_a_worker_that_starts_has_its_memory_before_it_takes_it() -> None:
    line = on_gpu(survey(gpu(), workers=(worker(state=WorkerState.STARTING),)))
    assert (line.free_bytes, line.reserved_bytes) == (24 * GIB - NEED, NEED)


def test_a_worker_is_counted_once_and_with_the_larger_number() -> None:
    less = GpuProcess(pid=100, memory_bytes=GIB)
    assert on_gpu(survey(gpu(0, less), workers=(worker(),))).free_bytes == 24 * GIB - NEED
    more = GpuProcess(pid=100, memory_bytes=NEED + GIB)
    line = on_gpu(survey(gpu(0, more), workers=(worker(),)))
    assert (line.free_bytes, line.foreign_bytes) == (23 * GIB - NEED, 0)


def test_a_worker_that_sleeps_has_nothing() -> None:
    asleep = worker(state=WorkerState.ASLEEP, pid=None)
    assert on_gpu(survey(gpu(), workers=(asleep,))).free_bytes == 24 * GIB
    assert ledger.told(survey(gpu(), workers=(asleep,)))[0].need_bytes == NEED


def test_where_the_driver_tells_no_process_memory_a_loaded_worker_has_what_it_needs() -> None:
    silent = gpu(0, GpuProcess(pid=100), used=NEED + GIB)
    line = on_gpu(survey(silent, workers=(worker(),)))
    assert (line.reserved_bytes, line.foreign_bytes, line.free_bytes) == (NEED, GIB, 23 * GIB - NEED)


def test_a_worker_on_two_gpus_takes_a_share_of_each() -> None:
    for split, (first, second) in {(): (50, 50), (75, 25): (75, 25)}.items():
        starting = worker(gpu=0, gpus=(0, 1), split=split, state=WorkerState.STARTING)
        seen = survey(gpu(0), gpu(1), gpu(2), workers=(starting,))
        both = NEED + FURTHER
        reserved = [on_gpu(seen, index).reserved_bytes for index in range(3)]
        assert reserved == [both * first // 100, both * second // 100, 0]


def test_a_gpu_with_a_problem_has_nothing_free() -> None:
    line = on_gpu(survey(gpu(0, problem="it has fallen off the bus")))
    assert (line.free_bytes, line.problem) == (0, "it has fallen off the bus")


def test_amds_gpu_0_is_not_nvidias() -> None:
    seen = survey(gpu(0, vendor="amd"), workers=(worker(),), backends=[Backend.CPU, Backend.CUDA, Backend.ROCM])
    line = on_gpu(seen)
    assert (line.backends, line.reserved_bytes) == ((Backend.ROCM,), 0)


def test_on_the_host_the_kernel_says_what_is_free_and_promises_are_taken_off() -> None:
    need = memory.host_bytes(MODEL, load(ctx=2048, slots=1))
    cpu = worker(backend=Backend.CPU, gpu=None)
    resident = {100: Resident(anon=GIB // 8, peak=3 * GIB)}
    line = ledger.devices(survey(workers=(cpu,), resident=resident))[0]
    assert line.free_bytes == 8 * GIB - (need - GIB // 8), "its weights are cache, which the kernel calls available"
    assert line.foreign_bytes == 8 * GIB - GIB // 8
    held = [dataclasses.replace(MODEL, cached=True)]
    assert ledger.devices(survey(workers=(cpu,), resident=resident, models=held))[0].free_bytes == line.free_bytes + (
        MODEL.size_bytes
    )


# Measuring


def test_what_is_measured_is_believed_for_all_of_its_kind_and_no_other() -> None:
    taken = GpuProcess(pid=100, memory_bytes=3 * GIB)
    news = ledger.learn(survey(gpu(0, taken), workers=(worker(load_ms=1500),)))
    assert list(news.values()) == [Measured(device_bytes=3 * GIB, load_ms=1500)]
    need = ledger.need(MODEL, load(Backend.CUDA, ctx=2048, slots=1), news)
    assert (need.bytes, need.measured, need.load_ms) == (int(3 * GIB * ledger.MARGIN), True, 1500)
    for other in (dataclasses.replace(MODEL, sha256="def"), MODEL):
        ctx = 4096 if other is MODEL else 2048
        assert not ledger.need(other, load(Backend.CUDA, ctx=ctx, slots=1), news).measured
    assert not ledger.need(MODEL, load(Backend.CPU, ctx=2048, slots=1), news).measured


def test_one_that_is_split_is_another_kind() -> None:
    both = tuple(gpu(index, GpuProcess(pid=100, memory_bytes=2 * GIB)) for index in range(2))
    news = ledger.learn(survey(*both, workers=(worker(gpus=(0, 1)),)))
    alone = ledger.need(MODEL, load(Backend.CUDA, ctx=2048, slots=1), news)
    assert (alone.bytes, alone.measured) == (NEED, False)
    split = ledger.need(MODEL, load(Backend.CUDA, ctx=2048, slots=1, gpus=2), news)
    assert (split.bytes, split.measured) == (int(4 * GIB * ledger.MARGIN), True)
    unseen = ledger.need(MODEL, load(Backend.CUDA, ctx=2048, slots=1, gpus=2), {})
    assert unseen.bytes == NEED + FURTHER


@pytest.mark.parametrize(
    ("anon", "peak", "counts"),
    [
        (OWN, OWN + MODEL.size_bytes, OWN + MODEL.size_bytes),  # mapped
        (OWN + MODEL.size_bytes, OWN + 2 * MODEL.size_bytes, OWN + MODEL.size_bytes),  # all of it rearranged
        (OWN + GIB, OWN + GIB + MODEL.size_bytes, OWN + MODEL.size_bytes),  # half of it
        (OWN // 2, OWN, OWN),  # and only a part of it ever read
    ],
)
def test_weights_that_were_rearranged_do_not_count_twice(anon: int, peak: int, counts: int) -> None:
    cpu = worker(backend=Backend.CPU, gpu=None)
    news = ledger.learn(survey(workers=(cpu,), resident={100: Resident(anon=anon, peak=peak)}))
    assert [seen.host_bytes for seen in news.values()] == [counts]


def test_only_more_is_news_and_only_of_who_is_loaded() -> None:
    taken = gpu(0, GpuProcess(pid=100, memory_bytes=3 * GIB))
    known = ledger.learn(survey(taken, workers=(worker(),)))
    less = gpu(0, GpuProcess(pid=100, memory_bytes=2 * GIB))
    assert ledger.learn(survey(less, workers=(worker(),), known=known)) == {}
    assert ledger.learn(survey(taken, workers=(worker(state=WorkerState.STARTING),))) == {}


def test_our_workers_have_their_names_among_the_processes() -> None:
    seen = survey(gpu(0, GpuProcess(pid=100, memory_bytes=1), GpuProcess(pid=7, memory_bytes=1)), workers=(worker(),))
    assert [each.worker for each in ledger.labelled(seen).gpus[0].processes] == ["worker-0", None]
    assert ledger.told(seen)[0].device_bytes == 1


def test_every_model_has_a_need_on_every_backend_with_the_pools_own_numbers() -> None:
    found = ledger.needs(survey(gpu()), replace(FACTS, ctx=8192, slots=2))
    assert [(need.backend, need.ctx, need.slots) for need in found] == [
        (Backend.CPU, 2048, 2),
        (Backend.CUDA, 2048, 2),
    ]


states = st.sampled_from([WorkerState.STARTING, WorkerState.READY, WorkerState.BUSY, WorkerState.ASLEEP])


@given(
    st.lists(st.tuples(st.integers(0, 1), states, st.integers(0, 6) | st.none()), max_size=6),
    st.integers(0, 8),
)
def test_what_is_free_is_never_more_than_is_there_nor_promised_twice(
    tenants: list[tuple[int, WorkerState, int | None]], game_gib: int
) -> None:
    workers = tuple(worker(n, pid=100 + n, gpu=where, state=state) for n, (where, state, _) in enumerate(tenants))
    gpus = []
    for index in range(2):
        mine = [
            GpuProcess(pid=100 + n, memory_bytes=used * GIB)
            for n, (where, state, used) in enumerate(tenants)
            if where == index and used is not None and state is not WorkerState.ASLEEP
        ]
        gpus.append(gpu(index, *mine, GpuProcess(pid=7, memory_bytes=game_gib * GIB), total=48 * GIB))
    for line in ledger.devices(survey(*gpus, workers=workers))[1:]:
        here = [w for w in workers if w.gpu == line.gpu and w.state is not WorkerState.ASLEEP]
        assert 0 <= line.free_bytes <= 48 * GIB - game_gib * GIB
        assert line.free_bytes <= max(0, 48 * GIB - game_gib * GIB - len(here) * NEED)
        assert line.foreign_bytes >= game_gib * GIB


def test_of_two_gpus_of_one_number_each_has_its_own_workers_and_vulkan_is_the_last_vendors() -> None:
    nvidia, amd = gpu(0), gpu(0, total=2 * GIB, vendor="amd")
    all_of_them = [Backend.CPU, Backend.CUDA, Backend.ROCM, Backend.VULKAN]
    here = (worker(0), worker(1, pid=101, backend=Backend.VULKAN, gpus=(0,)))
    one, other = (
        line for line in ledger.devices(survey(nvidia, amd, workers=here, backends=all_of_them)) if line.gpu == 0
    )
    assert (one.vendor, one.backends, other.vendor) == ("nvidia", (Backend.CUDA,), "amd")
    assert other.backends == (Backend.ROCM, Backend.VULKAN)
    assert one.reserved_bytes == NEED and other.reserved_bytes > 0
    [alone] = (line for line in ledger.devices(survey(nvidia, workers=here, backends=all_of_them)) if line.gpu == 0)
    assert alone.backends == (Backend.CUDA, Backend.VULKAN) and alone.reserved_bytes > NEED
