"""What may be asked of the broker, read strictly, and turned into a plan that it stands behind."""

import ipaddress
import re
import typing
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from rbee.errors import InvalidRequest, ModelNotFound, NotPermitted
from rbee.pool_core import names
from rbee.pool_core.load import CPU_BATCH_TOKENS
from rbee.pool_core.ports import HoldPlan, WorkerPlan
from rbee.wire import codec
from rbee.wire.fields import NAME, items, name, number, text
from rbee.wire.mixes import MOST_ADAPTERS, PLUS
from rbee.wire.workers import HIGHEST_PRIORITY, MOST_LAYERS, Backend, Kv

LOWEST_PORT = 1024
HIGHEST_GPU = 63
_OP = re.compile(r"start|stop|list|hold|unhold")
_MODEL = re.compile(rf"{NAME.pattern}(\+{NAME.pattern}){{0,{MOST_ADAPTERS}}}")
_ADDRESS = re.compile(r"(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:.]+\]):(\d{1,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A worker, in the words of WorkerPlan; every bound is here, and nothing else gets in."""

    id: str = name()
    backend: Backend
    model: str = text(longest=600, pattern=_MODEL, like="a name, or names with + between")
    model_paths: tuple[str, ...] = items(shortest=1, longest=1000)
    address: str = text(longest=64, pattern=_ADDRESS)
    ctx: int = number(low=64, high=1 << 20)
    slots: int = number(low=1, high=64)
    idle_s: int = number(low=1, high=30 * 86_400)
    memory_bytes: int = number(low=16 << 20, high=1 << 45)
    gpu: int | None = number(low=0, high=63, default=None)
    gpus: tuple[int, ...] = items(longest=64, default=())
    split: tuple[int, ...] = items(longest=64, default=())
    cpu_percent: int | None = number(low=1, high=100_000, default=None)
    threads: int = number(low=0, high=1024, default=0)
    pinned: bool = False
    spare: bool = False
    kv: Kv = Kv.F16
    batch: int = number(low=1, high=1 << 20, default=CPU_BATCH_TOKENS)
    gpu_layers: int | None = number(low=1, high=MOST_LAYERS, default=None)
    adapter_paths: tuple[str, ...] = items(longest=8, default=())
    keep: bool = False
    priority: int = number(low=-HIGHEST_PRIORITY, high=HIGHEST_PRIORITY, default=0)
    declared: bool = False
    limited: bool = False

    def problems(self) -> typing.Iterator[tuple[str, str]]:
        if any(not 0 <= gpu <= HIGHEST_GPU for gpu in self.gpus) or len(set(self.gpus)) != len(self.gpus):
            yield "gpus", f"is {list(self.gpus)}, expected different numbers of 0..{HIGHEST_GPU}"
        if self.gpus and self.gpu != self.gpus[0]:
            yield "gpu", f"is {self.gpu}, expected the first of gpus"
        if self.split and (len(self.split) != len(self.gpus) or not all(0 < each <= 100 for each in self.split)):
            yield "split", f"is {list(self.split)}, expected a number of 1..100 for each of gpus"
        if self.gpu_layers is not None and self.backend is Backend.CPU:
            yield "gpu_layers", f"is {self.gpu_layers}, but the backend is cpu"
        if len(self.adapter_paths) != self.model.count(PLUS):
            yield "adapter_paths", f"has {len(self.adapter_paths)}, but model is {self.model}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldWish:
    """A model to hold in memory."""

    model: str = text(longest=63, pattern=NAME)
    model_paths: tuple[str, ...] = items(shortest=1, longest=1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One line. ``release`` stops the socket only, so that the worker may finish."""

    op: str = text(longest=8, pattern=_OP)
    plan: Wish | None = None
    held: HoldWish | None = None
    id: str | None = name(default=None)
    release: bool = False

    def problems(self) -> typing.Iterator[tuple[str, str]]:
        if (self.op == "start") != (self.plan is not None):
            yield "plan", "is missing" if self.op == "start" else f"does not go with op {self.op}"
        if (self.op == "hold") != (self.held is not None):
            yield "held", "is missing" if self.op == "hold" else f"does not go with op {self.op}"
        named = self.op in ("stop", "unhold")
        if named != (self.id is not None):
            yield "id", "is missing" if named else f"does not go with op {self.op}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the operator's configuration allows: folders models may lie in, files they may be, the ports of workers."""

    roots: Sequence[Path]
    ports: tuple[int, int]
    files: Collection[Path] = ()


def read(line: bytes) -> Request:
    """Return the request in a line.

    Raises:
        InvalidRequest: names every wrong field.
    """
    return codec.from_dict(Request, codec.parse_json(line))


def plan_of(wish: Wish, bounds: Bounds) -> WorkerPlan:
    """Return the plan, with real paths.

    Raises:
        InvalidRequest, NotPermitted, ModelNotFound: id, address or a path is not within bounds.
    """
    names.check(wish.id)
    _check_address(wish.address, bounds.ports)
    return WorkerPlan(
        id=wish.id,
        backend=str(wish.backend),
        model=wish.model,
        model_paths=tuple(str(_real_model(path, bounds)) for path in wish.model_paths),
        address=wish.address,
        ctx=wish.ctx,
        slots=wish.slots,
        idle_s=wish.idle_s,
        memory_bytes=wish.memory_bytes,
        gpu=wish.gpu,
        gpus=wish.gpus,
        split=wish.split,
        pinned=wish.pinned,
        spare=wish.spare,
        cpu_percent=wish.cpu_percent,
        threads=wish.threads,
        kv=str(wish.kv),
        batch=wish.batch,
        gpu_layers=wish.gpu_layers,
        adapter_paths=tuple(str(_real_model(path, bounds)) for path in wish.adapter_paths),
        keep=wish.keep,
        priority=wish.priority,
        declared=wish.declared,
        limited=wish.limited,
    )


def hold_of(wish: HoldWish, bounds: Bounds) -> HoldPlan:
    """Return what to hold, with real paths and the files' own size. Raises as ``plan_of``."""
    paths = [_real_model(path, bounds) for path in wish.model_paths]
    size_bytes = sum(path.stat().st_size for path in paths)
    return HoldPlan(model=wish.model, model_paths=tuple(map(str, paths)), size_bytes=size_bytes)


def _check_address(address: str, ports: tuple[int, int]) -> None:
    host, _, port = address.rpartition(":")
    low, high = max(ports[0], LOWEST_PORT), ports[1]
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        raise InvalidRequest(f"address is {address!r}, expected an IP address and a port") from None
    if not low <= int(port) <= high:
        raise NotPermitted(f"port is {port}, expected {low}..{high}", hint="widen [pool] worker_ports")


def _real_model(path: str, bounds: Bounds) -> Path:
    """Return the file behind ``path``: a declared one, or one that no link leads out of the roots to."""
    if not path.startswith("/") or not path.isprintable():
        raise InvalidRequest(f"model path is {path!r}, expected an absolute path")
    try:
        real = Path(path).resolve(strict=True)
    except (OSError, RuntimeError):
        raise ModelNotFound(f"no model file {path}") from None
    if real not in bounds.files and not any(real.is_relative_to(root) for root in bounds.roots):
        raise NotPermitted(
            f"{path} is under no model root, and is no file that rbee.toml declares",
            hint="set [pool] models_dir or model_roots, or path in a table [models.<name>]",
        )
    if not real.is_file():
        raise ModelNotFound(f"{path} is no regular file")
    return real
