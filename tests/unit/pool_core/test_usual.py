"""How workers of a model are made where nobody says: as asked for, else as the model is set, else as the pool is."""

import dataclasses
from typing import Any

import pytest

from rbee.config import Model
from rbee.errors import InsufficientVram, InvalidRequest
from rbee.pool_core import ledger, memory, placement
from rbee.pool_core.ledger import Survey
from rbee.pool_core.ports import WorkerPlan
from rbee.pool_core.usual import Usual, filled
from rbee.wire.catalog import ModelFile, ModelKind
from rbee.wire.pools import Gpu, GpuInventory, Need
from rbee.wire.workers import Backend, Kv, SpawnEvent, WorkerSpec
from tests.fakes.pool import FACTS, GIB, TINY, FakePool, load
from tests.unit.pool_core.test_loading import ENCODER, LARGE, survey

ALL = Usual(
    backend=Backend.CUDA, gpu=1, ctx=8192, slots=4, kv=Kv.Q8_0, gpu_layers=20, idle_s=600, pinned=True, keep=True,
    priority=10,
)  # fmt: skip


def two_gpus() -> Survey:
    cards = tuple(Gpu(index=n, name="x", memory_total_bytes=24 * GIB, memory_free_bytes=24 * GIB) for n in (0, 1))
    return dataclasses.replace(survey(), inventory=GpuInventory(gpus=cards))


def decide(
    usual: Usual, model: ModelFile = LARGE, *, backend: Backend = Backend.CUDA, seen: Survey | None = None, **asked: Any
) -> WorkerPlan:
    facts = dataclasses.replace(FACTS, usual={model.id: usual}, kv="f16", slots=2, idle_s=300)
    spec = WorkerSpec(backend=backend, model=model.id, **asked)
    return placement.decide(spec, model, facts=facts, survey=seen or two_gpus())


def test_what_nobody_says_is_as_the_model_is_set() -> None:
    plan = decide(ALL)
    assert (plan.gpu, plan.ctx, plan.slots, plan.kv, plan.gpu_layers) == (1, 8192, 4, "q8_0", 20)
    assert (plan.idle_s, plan.pinned, plan.keep, plan.priority) == (600, True, True, 10)
    plain = decide(Usual())
    assert (plain.gpu, plain.ctx, plain.slots, plain.kv, plain.gpu_layers) == (0, 4096, 2, "f16", None)
    assert (plain.idle_s, plain.pinned, plain.keep, plain.priority) == (300, False, False, 0)


def test_what_is_asked_for_wins() -> None:
    plan = decide(ALL, gpu=0, ctx=512, slots=1, kv=Kv.F16, gpu_layers=30, idle_s=5, keep=False, priority=0)
    assert (plan.gpu, plan.ctx, plan.slots, plan.kv, plan.gpu_layers) == (0, 512, 1, "f16", 30)
    assert (plan.idle_s, plan.keep, plan.priority) == (5, False, 0)


def test_the_models_setting_wins_over_the_pools() -> None:
    facts = dataclasses.replace(FACTS, usual={"large": Usual(keep=False, kv=Kv.F16)}, kv="q8_0", keep=True)
    plan = placement.decide(WorkerSpec(backend=Backend.CPU, model="large"), LARGE, facts=facts, survey=survey())
    assert (plan.keep, plan.kv) == (False, "f16")


def test_another_backend_is_obeyed_and_gets_nothing_that_means_gpus() -> None:
    plan = decide(ALL, backend=Backend.CPU)
    assert (plan.backend, plan.gpu, plan.gpu_layers, plan.ctx) == ("cpu", None, None, 8192)
    anywhere = Usual(gpu=1, gpu_layers=20)
    assert decide(anywhere, backend=Backend.CPU).gpu_layers is None
    assert (decide(anywhere).gpu, decide(anywhere).gpu_layers) == (1, 20)


def test_only_what_is_set_is_added() -> None:
    spec = WorkerSpec(backend=Backend.CUDA, model="large", lazy=True, memory_bytes=1 << 30)
    assert filled(spec, Usual()) == spec
    assert filled(spec, Usual(ctx=512)) == dataclasses.replace(spec, ctx=512)


@pytest.mark.parametrize(
    ("usual", "model", "says"),
    [
        (Usual(kv=Kv.Q8_0), dataclasses.replace(LARGE, key_length=80), "models.large.kv is q8_0, but not for large"),
        (Usual(ctx=65_536), LARGE, "models.large.ctx is 65536, but large was trained on 32768 tokens"),
        (Usual(gpu=7), LARGE, "models.large.gpu is 7, expected one of: 0, 1"),
        (Usual(gpu_layers=4), TINY, "models.tiny.gpu_layers is 4, but tiny does not say how many layers it has"),
        (Usual(keep=True), ENCODER, "models.enc.keep is asked for, but enc has no conversations"),
    ],
    ids=["kv", "ctx", "gpu", "gpu_layers", "keep"],
)
def test_a_value_that_cannot_be_is_refused_by_the_name_of_its_key(usual: Usual, model: ModelFile, says: str) -> None:
    seen = dataclasses.replace(two_gpus(), models=[model])
    with pytest.raises(InvalidRequest) as caught:
        decide(usual, model, seen=seen)
    assert caught.value.message.startswith(says)
    assert caught.value.hint == f"correct [models.{model.id}] in rbee.toml"


def test_a_wrong_value_that_somebody_asked_for_is_theirs() -> None:
    with pytest.raises(InvalidRequest, match="^ctx is 65536") as caught:
        decide(Usual(ctx=512, kv=Kv.Q8_0), ctx=65_536)
    assert caught.value.hint == "--ctx=32768"


def test_advice_is_what_would_work_with_the_models_settings() -> None:
    """Leaving --gpu out would not help: it would be the model's again."""
    cards = (Gpu(index=0, name="x", memory_total_bytes=24 * GIB), Gpu(index=1, name="x", memory_total_bytes=6 * GIB))
    seen = dataclasses.replace(survey(), inventory=GpuInventory(gpus=cards))
    with pytest.raises(InsufficientVram) as refused:
        decide(Usual(gpu=1), seen=seen)
    first = refused.value.hint.split("; ")[0]
    assert first.startswith("rbee-hive worker spawn cuda --model large --gpu-layers ")
    layers = int(first.split("--gpu-layers ")[1].split()[0])
    assert decide(Usual(gpu=1), seen=seen, gpu_layers=layers).gpu == 1
    with pytest.raises(InsufficientVram) as refused:
        decide(Usual(), seen=seen, gpu=1, priority=-5)
    assert refused.value.hint.startswith("rbee-hive worker spawn cuda --model large --priority=-5 would fit")


def needs(usual: Usual, seen: Survey | None = None) -> list[Need]:
    found = ledger.needs(seen or survey(), dataclasses.replace(FACTS, usual={"large": usual}))
    return [need for need in found if need.model == "large"]


def test_the_queen_is_told_of_the_models_own_backend_alone() -> None:
    assert [need.backend for need in needs(Usual())] == [Backend.CPU, Backend.CUDA]
    assert [need.backend for need in needs(Usual(backend=Backend.CUDA))] == [Backend.CUDA]
    absent = dataclasses.replace(survey(), backends=[Backend.CPU])
    assert [need.backend for need in needs(Usual(backend=Backend.CUDA), absent)] == [Backend.CUDA], "not of the CPU"


def test_what_she_is_told_is_what_such_a_worker_takes() -> None:
    [need] = needs(ALL)
    part = load(Backend.CUDA, ctx=8192, slots=4, kv=Kv.Q8_0, gpu_layers=20)
    assert (need.bytes, need.ctx, need.slots, need.kv, need.gpu) == (
        memory.device_bytes(LARGE, part), 8192, 4, Kv.Q8_0, 1,
    )  # fmt: skip
    on_cpu, on_gpu = needs(Usual(gpu=1, ctx=512))
    assert (on_cpu.gpu, on_gpu.gpu, on_cpu.ctx, on_gpu.ctx) == (None, 1, 512, 512)


async def test_a_pool_makes_workers_so_whoever_asks() -> None:
    settings = {"tiny": Model(path="/models/tiny.gguf", ctx=256, priority=-7, pinned=True)}
    service = FakePool(facts=dataclasses.replace(FACTS, usual=settings)).service
    events: list[SpawnEvent] = [
        each async for each in service.spawn_worker(WorkerSpec(backend=Backend.CPU, model="tiny"))
    ]
    made = events[-1].worker
    assert made is not None
    assert (made.ctx, made.priority, made.pinned) == (256, -7, True)
    [need] = (await service.get_state()).needs
    assert need.ctx == 256


def test_an_encoder_has_nothing_to_keep_and_says_so_only_when_asked() -> None:
    assert ENCODER.kind is ModelKind.EMBED
    assert not decide(Usual(), ENCODER, seen=dataclasses.replace(two_gpus(), models=[ENCODER])).keep
