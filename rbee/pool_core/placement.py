"""A wish (WorkerSpec) and what is there (model, host, GPUs) become a plan with every number decided, or a refusal."""

import dataclasses
from collections.abc import Collection, Iterator, Sequence

from rbee.errors import InsufficientMemory, InsufficientVram, InvalidRequest, NoCapacity
from rbee.pool_core import advice, inventory, ledger, memory, names
from rbee.pool_core.ledger import Survey
from rbee.pool_core.ports import PoolFacts, WorkerPlan
from rbee.wire.catalog import ModelFile
from rbee.wire.pools import Device
from rbee.wire.words import bytes_text
from rbee.wire.workers import Backend, WorkerSpec

THREADS_PER_SLOT = 8
USUAL_LAYERS = 32


def decide(spec: WorkerSpec, model: ModelFile, *, facts: PoolFacts, survey: Survey) -> WorkerPlan:
    """Return the plan, still without id and address (``Candidates`` gives those).

    Raises:
        BackendUnavailable, InvalidRequest, InsufficientVram, InsufficientMemory: with what there is.
    """
    inventory.require_backend(spec.backend, [Backend(name) for name in facts.backends], survey.inventory)
    slots = spec.slots or facts.slots
    ctx = _context(spec, model, facts)
    needed = ledger.need(model, spec.backend, ctx=ctx, slots=slots, known=survey.known).bytes
    ledger_lines = ledger.devices(survey)
    if spec.backend is Backend.CUDA and not any(gpu.vendor == "nvidia" for gpu in survey.inventory.gpus):
        raise inventory.no_gpu(spec.backend, survey.inventory)
    try:
        gpus, split = _gpus(spec, needed, ledger_lines, layer_bytes=needed // (model.layers or USUAL_LAYERS))
        on_host = memory.INTERPRETER_BYTES if gpus else needed
        _require_memory(spec.memory_bytes or on_host, ledger_lines[0].free_bytes)
    except (InsufficientVram, InsufficientMemory) as error:
        error.hint = advice.for_too_little(
            spec, model, ctx=ctx, slots=slots, lines=ledger_lines, known=survey.known
        )  # fmt: skip
        raise
    return WorkerPlan(
        id=spec.id or "",
        backend=str(spec.backend),
        model=model.id,
        model_paths=model.paths,
        address="",
        ctx=ctx,
        slots=slots,
        idle_s=spec.idle_s or facts.idle_s,
        memory_bytes=spec.memory_bytes or memory.limit_bytes(model, ctx=ctx, slots=slots),
        gpu=gpus[0] if gpus else None,
        gpus=gpus if len(gpus) > 1 else (),
        split=split,
        cpu_percent=spec.cpu_percent,
        threads=facts.threads or min(survey.host.cpus, THREADS_PER_SLOT * slots),
        pinned=spec.pinned,
        spare=spec.spare,
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


def _gpus(
    spec: WorkerSpec, needed: int, lines: Sequence[Device], *, layer_bytes: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the GPUs to use, and how they share; where nobody counts the memory the index is taken at its word."""
    if spec.backend is Backend.CPU:
        if spec.gpu is not None:
            raise InvalidRequest(f"gpu is {spec.gpu}, but the backend is cpu", hint="leave --gpu out")
        return (), ()
    counted = [line for line in lines if line.gpu is not None and spec.backend in line.backends]
    if not counted and spec.backend is not Backend.CUDA:
        return (spec.gpu or 0,), ()
    return inventory.choose_gpus(spec.gpu, needed, counted, layer_bytes=layer_bytes)


def _require_memory(needed: int, free: int) -> None:
    if needed > free:
        raise InsufficientMemory(
            f"the worker needs {bytes_text(needed)} of memory, {bytes_text(free)} are free",
            details={"needed_bytes": needed, "free_bytes": free},
        )
