"""Memory on each device: what strangers have, what our workers have or will have, and what a new worker may have. Pure.

A worker is counted with what it was predicted or seen to need from the moment it starts, not from when it has taken
it; a stranger with what he uses now. What a worker is seen to take is believed from then on for all of its kind: the
same file, context, slots and backend.
"""

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from rbee.pool_core import memory, mixes
from rbee.pool_core.kinds import can_keep_as
from rbee.pool_core.load import Load
from rbee.pool_core.ports import Measured, PoolFacts, Resident
from rbee.pool_core.usual import Usual, filled
from rbee.wire.catalog import ModelFile, ModelKind
from rbee.wire.pools import VENDORS, Device, Gpu, GpuInventory, GpuProcess, HostResources, Need
from rbee.wire.workers import Backend, Kv, WorkerSpec, WorkerState, WorkerStatus

HOLDING = frozenset({WorkerState.STARTING, WorkerState.READY, WorkerState.BUSY, WorkerState.DRAINING})
LOADED = frozenset({WorkerState.READY, WorkerState.BUSY})
MOST_NEEDS = 1000
MARGIN = 1.05
"""What was measured once may be a little more the next time."""

ENGINE = "e2"
"""How workers hold their models: e2 is one context for all slots. What others were seen to take is no guide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Everything the ledger is made from, at one moment."""

    models: Sequence[ModelFile]
    workers: Sequence[WorkerStatus]
    inventory: GpuInventory
    host: HostResources
    resident: Mapping[int, Resident]
    known: Mapping[str, Measured]
    backends: Collection[Backend]


def key(model: ModelFile, load: Load) -> str:
    """Return what workers of one kind have in common: the files, and every flag that changes what they take.

    Until a file is hashed its size has to stand for its content.
    """
    files = "+".join(map(_content, (model, *load.adapters)))
    split = f" on {load.gpus}" if load.gpus > 1 else ""
    layers = f" {load.gpu_layers} layers" if memory.is_partial(model, load) else ""
    return f"{files} {load.backend} {ENGINE} {load.ctx}x{load.slots} {load.kv}{layers}{split}"


def need(model: ModelFile, load: Load, known: Mapping[str, Measured]) -> Need:
    """Return what a worker takes of its device, of all its GPUs together: as measured, else as the header says."""
    seen = known.get(key(model, load), Measured())
    on_host = load.backend is Backend.CPU
    taken = seen.host_bytes if on_host else seen.device_bytes
    predict = memory.host_bytes if on_host else memory.device_bytes
    return Need(
        model=model.id,
        backend=load.backend,
        bytes=int(taken * MARGIN) if taken else predict(model, load),
        ctx=load.ctx,
        slots=load.slots,
        kv=load.kv,
        measured=bool(taken),
        load_ms=seen.load_ms,
    )


def needs(survey: Survey, facts: PoolFacts) -> tuple[Need, ...]:
    """Return the need of each model on each backend, with its own numbers or else the pool's; as many as a heartbeat
    takes.

    A model with a backend of its own is told on that one alone, whether or not the host has it: nobody is to put it on
    another. An adapter has no need of its own: it is a part of what its base needs.
    """
    found = (
        _need_by_itself(model, backend, survey, facts)
        for model in survey.models
        if model.kind is not ModelKind.ADAPTER
        for backend in _backends_for(facts.usual_of(model.id), survey)
    )
    return tuple(islice(found, MOST_NEEDS))


def _backends_for(usual: Usual, survey: Survey) -> Collection[Backend]:
    return survey.backends if usual.backend is None else (usual.backend,)


def _need_by_itself(model: ModelFile, backend: Backend, survey: Survey, facts: PoolFacts) -> Need:
    """Return the need of a worker for which nobody says anything but its backend."""
    spec = filled(WorkerSpec(backend=backend, model=model.id), facts.usual_of(model.id))
    kv = spec.kv or Kv(facts.kv)
    load = usual_load(model, backend, ctx=spec.ctx or facts.ctx, slots=spec.slots or facts.slots, kv=kv)
    return dataclasses.replace(need(model, with_layers(model, load, spec.gpu_layers), survey.known), gpu=spec.gpu)


def with_layers(model: ModelFile, load: Load, gpu_layers: int | None) -> Load:
    """Return ``load`` with so many layers on the GPU; without a number where that would be all of them."""
    partial = dataclasses.replace(load, gpu_layers=gpu_layers)
    return partial if memory.is_partial(model, partial) else load


def usual_load(model: ModelFile, backend: Backend, *, ctx: int, slots: int, kv: Kv) -> Load:
    """Return how a pool with these numbers loads ``model``: with less, where the model can do no more."""
    return Load(
        backend=backend,
        ctx=min(ctx, model.context_tokens or ctx),
        slots=slots,
        kv=kv if can_keep_as(kv, model, backend) else Kv.F16,
    )


def told(survey: Survey) -> tuple[WorkerStatus, ...]:
    """Return the workers with what each needs of its device, and what it has of it as far as the driver says."""
    return tuple(
        dataclasses.replace(worker, need_bytes=_need_of(worker, survey), device_bytes=_device_bytes(worker, survey))
        for worker in survey.workers
    )


def labelled(survey: Survey) -> GpuInventory:
    """Return the inventory with our workers named among the processes."""
    names = {worker.pid: worker.id for worker in survey.workers if worker.pid is not None}
    gpus = (
        dataclasses.replace(gpu, processes=tuple(_labelled(each, names) for each in gpu.processes))
        for gpu in survey.inventory.gpus
    )
    return dataclasses.replace(survey.inventory, gpus=tuple(gpus))


def devices(survey: Survey) -> tuple[Device, ...]:
    """Return the ledger: the host's memory first, then each GPU's."""
    return (_host(survey), *(_gpu(gpu, survey) for gpu in survey.inventory.gpus))


def learn(survey: Survey) -> Mapping[str, Measured]:
    """Return what is new about kinds of workers: more than was known, or another time of loading."""
    news: dict[str, Measured] = {}
    for worker in survey.workers:
        model = _model_of(worker, survey)
        if model is None or worker.state not in LOADED or worker.pid is None:
            continue
        kind = key(model, load_of(worker, survey))
        before = news.get(kind) or survey.known.get(kind, Measured())
        seen = _seen(worker, model, before, survey)
        if seen != before:
            news[kind] = seen
    return news


def _seen(worker: WorkerStatus, model: ModelFile, before: Measured, survey: Survey) -> Measured:
    resident = survey.resident.get(worker.pid or 0)
    return Measured(
        device_bytes=max(before.device_bytes, _device_bytes(worker, survey) or 0),
        host_bytes=max(before.host_bytes, _host_bytes(worker, model, resident, survey) if resident else 0),
        load_ms=worker.load_ms if worker.load_ms is not None else before.load_ms,
    )


def _host_bytes(worker: WorkerStatus, model: ModelFile, resident: Resident, survey: Survey) -> int:
    """Return what a worker has of the host's memory and needs.

    llama.cpp rearranges some weights for the CPU, into memory of its own; the pages of the file that it read them from
    are resident as well, and needed no more. So a file counts only with what was not rearranged.
    """
    own = memory.own_bytes(model, load_of(worker, survey))
    rearranged = max(0, resident.anon - own)
    return min(resident.peak, resident.anon + max(0, model.size_bytes - rearranged))


def _host(survey: Survey) -> Device:
    """The kernel counts mapped weights as memory to be had, so a worker on the CPU keeps all it needs but its own.

    So does one of whose layers only some are on a GPU.
    """
    ours = [*_tenants(None, survey), *_lodgers(survey)]
    anon = {worker.id: _anon(worker, survey) for worker in ours}
    wanted = {worker.id: _need_of_host(worker, survey) for worker in ours}
    unfilled = sum(max(0, wanted[worker.id] - anon[worker.id] - _held(worker, survey)) for worker in ours)
    reserved = sum(max(wanted[worker.id], anon[worker.id]) for worker in ours)
    total, available = survey.host.memory_total_bytes, survey.host.memory_available_bytes
    return Device(
        backends=(Backend.CPU,),
        total_bytes=total,
        free_bytes=max(0, available - unfilled),
        reserved_bytes=reserved,
        foreign_bytes=max(0, total - available - sum(anon.values())),
    )


def _gpu(gpu: Gpu, survey: Survey) -> Device:
    able = _able(gpu, survey.inventory)
    ours = list(_tenants(gpu.index, survey, able))
    used = {worker.id: _used(worker, gpu, survey) for worker in ours}
    reserved = sum(max(_share(worker, gpu.index, survey), used[worker.id]) for worker in ours)
    foreign = max(0, gpu.memory_used_bytes - sum(used.values()))
    free = max(0, gpu.memory_total_bytes - foreign - reserved)
    return Device(
        backends=tuple(backend for backend in able if backend in survey.backends),
        gpu=gpu.index,
        vendor=gpu.vendor,
        total_bytes=gpu.memory_total_bytes,
        free_bytes=0 if gpu.problem else free,
        reserved_bytes=reserved,
        foreign_bytes=foreign,
        problem=gpu.problem,
        hot=gpu.hot,
    )


def _able(gpu: Gpu, inventory: GpuInventory) -> Sequence[Backend]:
    """Return what runs there. Vulkan's are the last vendor's of those with that number: a worker gets its nodes."""
    last = next(each for each in reversed(inventory.gpus) if each.index == gpu.index)
    return [each for each in VENDORS[gpu.vendor] if each is not Backend.VULKAN or last.vendor == gpu.vendor]


def _tenants(gpu: int | None, survey: Survey, able: Sequence[Backend] = ()) -> Iterator[WorkerStatus]:
    """Yield the workers that have memory there, or will in a moment."""
    for worker in survey.workers:
        if worker.state in HOLDING and is_on(worker, gpu, able):
            yield worker


def _lodgers(survey: Survey) -> Iterator[WorkerStatus]:
    """Yield the workers on GPUs: each has a process here, and some have left layers."""
    for worker in survey.workers:
        if worker.state in HOLDING and worker.backend is not Backend.CPU:
            yield worker


def is_on(worker: WorkerStatus, gpu: int | None, able: Sequence[Backend]) -> bool:
    """Say whether ``worker`` is one for that device, which runs what is ``able``; None is the host's memory."""
    if gpu is None:
        return worker.backend is Backend.CPU
    return gpu in _gpus(worker) and worker.backend in able


def _gpus(worker: WorkerStatus) -> tuple[int, ...]:
    return () if worker.backend is Backend.CPU else worker.gpus or (worker.gpu or 0,)


def _need_of(worker: WorkerStatus, survey: Survey) -> int:
    model = _model_of(worker, survey)
    if model is None:
        return worker.memory_limit_bytes or 0 if worker.backend is Backend.CPU else 0
    return need(model, load_of(worker, survey), survey.known).bytes


def load_of(worker: WorkerStatus, survey: Survey) -> Load:
    """Return how a worker holds its model."""
    mixed = mixes.files_of(worker.model, survey.models)
    return Load(
        backend=worker.backend,
        ctx=worker.ctx,
        slots=worker.slots,
        kv=worker.kv,
        gpu_layers=worker.gpu_layers,
        gpus=max(1, len(_gpus(worker))),
        adapters=mixed[1:],
    )


def _need_of_host(worker: WorkerStatus, survey: Survey) -> int:
    model = _model_of(worker, survey)
    if worker.backend is Backend.CPU or model is None:
        return _need_of(worker, survey)
    return memory.rest_bytes(model, load_of(worker, survey))


def _share(worker: WorkerStatus, gpu: int, survey: Survey) -> int:
    """Return what a worker needs of one of its GPUs."""
    need_bytes, gpus = _need_of(worker, survey), _gpus(worker)
    if len(worker.split) != len(gpus):
        return need_bytes // max(1, len(gpus))
    return need_bytes * worker.split[gpus.index(gpu)] // sum(worker.split)


def _used(worker: WorkerStatus, gpu: Gpu, survey: Survey) -> int:
    """Return what the driver says it uses there; where it does not say, a loaded one has what it needs."""
    mine = [process for process in gpu.processes if process.pid == worker.pid]
    if mine and mine[0].memory_bytes is not None:
        return mine[0].memory_bytes
    silent = all(process.memory_bytes is None for process in gpu.processes)
    return _share(worker, gpu.index, survey) if silent and worker.state in LOADED else 0


def _device_bytes(worker: WorkerStatus, survey: Survey) -> int | None:
    used = [
        process.memory_bytes
        for gpu in survey.inventory.gpus
        for process in gpu.processes
        if worker.pid is not None and process.pid == worker.pid
        if is_on(worker, gpu.index, _able(gpu, survey.inventory))
    ]
    known = [each for each in used if each is not None]
    return sum(known) if known else None


def _anon(worker: WorkerStatus, survey: Survey) -> int:
    resident = survey.resident.get(worker.pid or 0)
    return resident.anon if resident else 0


def _held(worker: WorkerStatus, survey: Survey) -> int:
    """Return the bytes of its weights that are held in memory anyway, and are no more to be had."""
    model = _model_of(worker, survey)
    return memory.weights_on_host(model, load_of(worker, survey)) if model is not None and model.cached else 0


def _model_of(worker: WorkerStatus, survey: Survey) -> ModelFile | None:
    return next(iter(mixes.files_of(worker.model, survey.models)), None)


def _content(model: ModelFile) -> str:
    return model.sha256 or f"{model.id}:{model.size_bytes}"


def _labelled(process: GpuProcess, names: Mapping[int, str]) -> GpuProcess:
    return dataclasses.replace(process, worker=names[process.pid]) if process.pid in names else process
