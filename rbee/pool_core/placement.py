"""A wish (WorkerSpec) and what is there (model, host, GPUs) become a plan with every number decided, or a refusal."""

import contextlib
import dataclasses
from collections.abc import Collection, Iterator, Sequence

from rbee.errors import InsufficientDisk, InsufficientMemory, InsufficientVram, InvalidRequest, NoCapacity, RbeeError
from rbee.pool_core import advice, inventory, kinds, ledger, memory, mixes, names
from rbee.pool_core.ledger import Survey
from rbee.pool_core.load import Load, batch_tokens
from rbee.pool_core.ports import PoolFacts, WorkerPlan
from rbee.pool_core.usual import Usual, filled
from rbee.pool_core.wrong import wrong
from rbee.wire.catalog import ModelFile, ModelKind
from rbee.wire.pools import Device
from rbee.wire.words import bytes_text
from rbee.wire.workers import Backend, Kv, WorkerSpec, WorkerStatus

THREADS_PER_SLOT = 8
USUAL_LAYERS = 32


def decide(
    spec: WorkerSpec, model: ModelFile, adapters: Sequence[ModelFile] = (), *, facts: PoolFacts, survey: Survey
) -> WorkerPlan:
    """Return the plan, still without id and address (``Candidates`` gives those).

    Args:
        adapters: what is to lie over ``model``, in this order.

    What ``spec`` does not say is as is usual for the model, else for the pool.

    Raises:
        BackendUnavailable, InvalidRequest, InsufficientVram, InsufficientMemory: with what there is.
    """
    usual = facts.usual_of(model.id)
    _require_possible(spec, model, adapters, survey)
    lines = ledger.devices(survey)

    def plan(wanted: WorkerSpec) -> WorkerPlan:
        return _plan(filled(wanted, usual), model, adapters, facts, survey, lines)

    def works(wanted: WorkerSpec) -> bool:
        try:
            plan(wanted)
        except RbeeError:
            return False
        return True

    try:
        with _whose(spec, usual, model):
            return plan(spec)
    except (InsufficientVram, InsufficientMemory) as error:
        named = dataclasses.replace(spec, model=mixes.name_of(model, adapters))
        error.hint = advice.for_too_little(named, model, load_of(filled(spec, usual), model, adapters, facts), works)
        raise


def outline(
    spec: WorkerSpec, model: ModelFile, adapters: Sequence[ModelFile] = (), *, facts: PoolFacts, survey: Survey
) -> WorkerPlan:
    """Return the plan as far as it does not depend on what memory is free: with the GPU that is asked for, or none.

    Raises:
        BackendUnavailable, InvalidRequest: as ``decide``.
    """
    _require_possible(spec, model, adapters, survey)
    usual = facts.usual_of(model.id)
    whole = filled(spec, usual)
    with _whose(spec, usual, model):
        return _outline(whole, model, adapters, load_of(whole, model, adapters, facts), facts, survey)


def while_all_sleep(survey: Survey) -> Survey:
    """Return what would be seen if nobody had memory on this host: room for a worker that only sleeps for now."""
    gpus = tuple(dataclasses.replace(gpu, memory_used_bytes=0, processes=()) for gpu in survey.inventory.gpus)
    host = dataclasses.replace(survey.host, memory_available_bytes=survey.host.memory_total_bytes)
    inventory = dataclasses.replace(survey.inventory, gpus=gpus)
    return dataclasses.replace(survey, workers=(), inventory=inventory, host=host, resident={})


def _require_possible(spec: WorkerSpec, model: ModelFile, adapters: Sequence[ModelFile], survey: Survey) -> None:
    inventory.require_backend(spec.backend, survey.backends, survey.inventory)
    mixes.check(model, adapters)
    kinds.require_usable(model)
    if spec.backend is Backend.CUDA and not any(gpu.vendor == "nvidia" for gpu in survey.inventory.gpus):
        raise inventory.no_gpu(spec.backend, survey.inventory)


def _plan(
    spec: WorkerSpec,
    model: ModelFile,
    adapters: Sequence[ModelFile],
    facts: PoolFacts,
    survey: Survey,
    lines: Sequence[Device],
) -> WorkerPlan:
    load = load_of(spec, model, adapters, facts)
    needed = ledger.need(model, load, survey.known).bytes
    apart = (needed // (memory.layers_on_device(model, load) or USUAL_LAYERS), memory.further_bytes(model, load))
    gpus, split = _gpus(spec, needed, lines, apart)
    on_host = memory.rest_bytes(model, load) if gpus else needed
    _require_memory(spec.memory_bytes or on_host, lines[0].free_bytes)
    load = dataclasses.replace(load, gpus=max(1, len(gpus)))
    return dataclasses.replace(
        _outline(spec, model, adapters, load, facts, survey),
        gpu=gpus[0] if gpus else None,
        gpus=gpus if len(gpus) > 1 else (),
        split=split,
    )


def _outline(
    spec: WorkerSpec, model: ModelFile, adapters: Sequence[ModelFile], load: Load, facts: PoolFacts, survey: Survey
) -> WorkerPlan:
    return WorkerPlan(
        id=spec.id or "",
        backend=str(spec.backend),
        model=mixes.name_of(model, adapters),
        model_paths=model.paths,
        address="",
        ctx=load.ctx,
        slots=load.slots,
        idle_s=spec.idle_s or facts.idle_s,
        memory_bytes=spec.memory_bytes or memory.limit_bytes(model, load),
        gpu=spec.gpu,
        cpu_percent=spec.cpu_percent,
        threads=facts.threads or min(survey.host.cpus, THREADS_PER_SLOT * load.slots),
        pinned=spec.pinned,
        spare=spec.spare,
        priority=spec.priority or 0,
        kv=str(load.kv),
        batch=batch_tokens(model, load),
        gpu_layers=load.gpu_layers,
        adapter_paths=tuple(adapter.paths[0] for adapter in adapters),
        keep=_keep(spec, model, facts),
        limited=spec.memory_bytes is not None,
    )


def load_of(spec: WorkerSpec, model: ModelFile, adapters: Sequence[ModelFile], facts: PoolFacts) -> Load:
    """Return how the worker is to hold its model: as asked for, else as the pool is set, where the model can.

    Raises:
        InvalidRequest: what is asked for cannot be.
    """
    if spec.kv is not None:
        kinds.require_kv(spec.kv, model, spec.backend)
    if spec.gpu_layers is not None and spec.backend is Backend.CPU:
        raise wrong("gpu_layers", f"is {spec.gpu_layers}, but the backend is cpu", hint="leave --gpu-layers out")
    if spec.gpu_layers is not None and not model.layers:
        raise wrong("gpu_layers", f"is {spec.gpu_layers}, but {model.id} does not say how many layers it has")
    usual = ledger.usual_load(
        model, spec.backend, ctx=facts.ctx, slots=spec.slots or facts.slots, kv=spec.kv or Kv(facts.kv)
    )
    ctx = _context(spec, model, facts)
    return ledger.with_layers(model, dataclasses.replace(usual, ctx=ctx, adapters=tuple(adapters)), spec.gpu_layers)


def kept_bytes(worker: WorkerPlan | WorkerStatus, model: ModelFile) -> int:
    """Return what a worker writes to disk at most when it goes to sleep: all slots at full context."""
    if not worker.keep:
        return 0
    load = Load(backend=Backend(worker.backend), ctx=worker.ctx, slots=worker.slots, kv=Kv(worker.kv))
    return memory.cache_bytes(model, load)


def require_room_to_keep(plan: WorkerPlan, model: ModelFile, free: int) -> None:
    """
    Raises:
        InsufficientDisk: what it keeps would not fit on the disk.
    """
    needed = kept_bytes(plan, model)
    if needed > free:
        raise InsufficientDisk(
            f"to keep its conversations the worker needs {bytes_text(needed)} of disk, {bytes_text(free)} are free",
            hint="spawn it with --forget, or with less --ctx or --slots, or --kv q8_0",
            details={"needed_bytes": needed, "free_bytes": free},
        )


class Candidates:
    """Where to try a plan: ids and ports that nobody is known to have. systemd has the last word, told here."""

    def __init__(self, plan: WorkerPlan, facts: PoolFacts, ids: Collection[str], ports: Collection[int]) -> None:
        self._plan = plan
        self._host = facts.worker_host
        self._range = facts.ports
        self._ids = iter([plan.id]) if plan.id else names.free_ids(plan.backend, ids)
        self._ports: Iterator[int] = (port for port in facts.ports if port not in ports)
        self._id = next(self._ids)
        self._port = self._next_port()

    @property
    def current(self) -> WorkerPlan:
        """The plan to try now."""
        return dataclasses.replace(self._plan, id=self._id, address=address(self._host, self._port))

    def id_was_taken(self) -> bool:
        """Go on to the next id; False when the caller wanted this one and no other."""
        following = next(self._ids, None)
        self._id = following or self._id
        return following is not None

    def port_was_taken(self) -> None:
        """Go on to the next port.

        Raises:
            NoCapacity: there is none left.
        """
        self._port = self._next_port()

    def _next_port(self) -> int:
        port = next(self._ports, None)
        if port is None:
            low, high = self._range[0], self._range[-1]
            raise NoCapacity(f"no free port within {low}-{high}", hint="stop a worker, or widen [pool] worker_ports")
        return port


def address(host: str, port: int) -> str:
    """Return ``host:port``, with the brackets an IPv6 address needs."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def port_of(address: str) -> int:
    """Return the port of ``host:port``."""
    return int(address.rpartition(":")[2])


def _context(spec: WorkerSpec, model: ModelFile, facts: PoolFacts) -> int:
    """Return the tokens a slot gets: as asked for, else the setting or the model's own, whichever is less."""
    most = model.context_tokens or facts.ctx
    if spec.ctx is None:
        return min(facts.ctx, most)
    if model.context_tokens and spec.ctx > most:
        raise wrong("ctx", f"is {spec.ctx}, but {model.id} was trained on {most} tokens", hint=f"--ctx={most}")
    return spec.ctx


def _keep(spec: WorkerSpec, model: ModelFile, facts: PoolFacts) -> bool:
    """Say whether conversations outlive a sleep: as asked for, else as the pool is set; only a chat has one to keep."""
    if spec.keep and model.kind is not ModelKind.GENERATE:
        raise wrong("keep", f"is asked for, but {model.id} has no conversations", hint="leave --keep out")
    return (facts.keep if spec.keep is None else spec.keep) and model.kind is ModelKind.GENERATE


@contextlib.contextmanager
def _whose(spec: WorkerSpec, usual: Usual, model: ModelFile) -> Iterator[None]:
    """Name the key of rbee.toml where a value that is wrong came from there."""
    try:
        yield
    except InvalidRequest as error:
        field = next((each["field"] for each in error.details.get("fields", ())), "")
        if field in usual.added(spec):
            error.message = f"models.{model.id}.{error.message}"
            error.hint = f"correct [models.{model.id}] in rbee.toml"
        raise


def _gpus(
    spec: WorkerSpec, needed: int, lines: Sequence[Device], apart: tuple[int, int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the GPUs to use, and how they share; where nobody counts the memory the index is taken at its word.

    Args:
        apart: the bytes of a layer, and what each GPU after the first takes besides, should several have to share.
    """
    if spec.backend is Backend.CPU:
        if spec.gpu is not None:
            raise wrong("gpu", f"is {spec.gpu}, but the backend is cpu", hint="leave --gpu out")
        return (), ()
    counted = [line for line in lines if line.gpu is not None and spec.backend in line.backends]
    if not counted and spec.backend is not Backend.CUDA:
        return (spec.gpu or 0,), ()
    return inventory.choose_gpus(spec.gpu, needed, counted, layer_bytes=apart[0], further_bytes=apart[1])


def _require_memory(needed: int, free: int) -> None:
    if needed > free:
        raise InsufficientMemory(
            f"the worker needs {bytes_text(needed)} of memory, {bytes_text(free)} are free",
            details={"needed_bytes": needed, "free_bytes": free},
        )
