"""A wish (WorkerSpec) and what is there (model, host, GPUs) become a plan with every number decided, or a refusal."""

import dataclasses
from collections.abc import Collection, Iterator

from rbee.errors import InsufficientMemory, InvalidRequest, NoCapacity
from rbee.pool_core import inventory, memory, names
from rbee.pool_core.ports import PoolFacts, WorkerPlan
from rbee.wire.catalog import ModelFile
from rbee.wire.pools import GpuInventory, HostResources
from rbee.wire.workers import Backend, WorkerSpec

THREADS_PER_SLOT = 8


def decide(
    spec: WorkerSpec, model: ModelFile, *, facts: PoolFacts, host: HostResources, gpus: GpuInventory
) -> WorkerPlan:
    """Return the plan, still without id and address (``Candidates`` gives those).

    Raises:
        BackendUnavailable, InvalidRequest, InsufficientVram, InsufficientMemory: with what there is.
    """
    inventory.require_backend(spec.backend, [Backend(name) for name in facts.backends], gpus)
    slots = spec.slots or facts.slots
    ctx = _context(spec, model, facts)
    needed = spec.memory_bytes or memory.host_bytes(model, ctx=ctx, slots=slots)
    _require_memory(needed, host)
    return WorkerPlan(
        id=spec.id or "",
        backend=str(spec.backend),
        model=model.id,
        model_paths=model.paths,
        address="",
        ctx=ctx,
        slots=slots,
        idle_s=spec.idle_s or facts.idle_s,
        memory_bytes=needed,
        gpu=_gpu(spec, memory.device_bytes(model, ctx=ctx, slots=slots), gpus),
        cpu_percent=spec.cpu_percent,
        threads=facts.threads or min(host.cpus, THREADS_PER_SLOT * slots),
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
        raise InvalidRequest(f"ctx is {spec.ctx}, but {model.id} was trained on {most} tokens", hint=f"--ctx={most}")
    return spec.ctx


def _gpu(spec: WorkerSpec, needed_bytes: int, gpus: GpuInventory) -> int | None:
    """Return the GPU to use. NVML knows CUDA's only; for other kinds the caller's index is taken at its word."""
    if spec.backend is Backend.CUDA:
        return inventory.choose_gpu(spec.gpu, needed_bytes, gpus).index
    if spec.backend is Backend.CPU and spec.gpu is not None:
        raise InvalidRequest(f"gpu is {spec.gpu}, but the backend is cpu", hint="leave --gpu out")
    return spec.gpu


def _require_memory(needed: int, host: HostResources) -> None:
    if needed > host.memory_available_bytes:
        raise InsufficientMemory(
            f"the worker needs {needed} bytes of memory, {host.memory_available_bytes} are available",
            hint="stop a worker, ask for less --ctx or --slots, or take a smaller model",
            details={"needed_bytes": needed, "free_bytes": host.memory_available_bytes},
        )
