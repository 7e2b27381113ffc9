"""A model held in memory: a transient unit whose process maps the files and locks the mapping (mlock(2)). Pure.

The pages are the page cache's own, so a worker that maps the same files finds them there. systemd owns the process:
it outlives whoever asked for it, and what is held is read back from the units' ``ExecStart``.
"""

from collections.abc import Sequence

from rbee.errors import InsufficientMemory
from rbee.pool_core import names, sandbox, unit
from rbee.pool_core.ports import HoldPlan
from rbee.pool_core.unit import Mode, NotAWorker, Place
from rbee.wire.catalog import ModelFile
from rbee.wire.pools import HostResources

UNIT_PATTERN = "rbee-model-*.service"
HOLD = "--hold"
RESERVE = 0.1
"""This share of all memory stays free of what is held."""

_OVERHEAD_BYTES = 128 << 20  # the process itself
_INFINITY = (1 << 64) - 1


def service(model: str) -> str:
    """Return the name of the unit that holds ``model``."""
    return f"rbee-model-{model}.service"


def plan(model: ModelFile, host: HostResources, promised_bytes: int = 0) -> HoldPlan:
    """Return what holds ``model``.

    Args:
        promised_bytes: what other models will take that are being held just now.

    Raises:
        InsufficientMemory: what would be left is less than the reserve.
    """
    reserve = int(host.memory_total_bytes * RESERVE)
    needed = model.size_bytes + reserve + promised_bytes
    if needed > host.memory_available_bytes:
        raise InsufficientMemory(
            f"{model.id} has {model.size_bytes} bytes, {reserve + promised_bytes} are to stay free or promised, "
            f"but {host.memory_available_bytes} are available",
            hint="rbee-hive models uncache another one, or stop a worker",
            details={"needed_bytes": needed, "free_bytes": host.memory_available_bytes},
        )
    return HoldPlan(model=model.id, model_paths=model.paths, size_bytes=model.size_bytes)


def argv(plan: HoldPlan, program: str) -> list[str]:
    """Return the command line; ``model_of`` reads it back."""
    return unit.quoted(program, [HOLD, f"--id={plan.model}", *plan.model_paths])


def model_of(words: Sequence[str]) -> str:
    """Return the model that a unit with this command line holds.

    Raises:
        NotAWorker: it is none of ours.
    """
    plain = unit.unquoted(words)
    found = next((word.removeprefix("--id=") for word in plain if word.startswith("--id=")), None)
    if HOLD not in plain or found is None:
        raise NotAWorker(f"not a command line that holds a model: {' '.join(words)[:200]}")
    return found


def properties(plan: HoldPlan, place: Place) -> dict[str, object]:
    """Return what the unit is made of."""
    return {
        "Description": f"rbee model {plan.model}, held in memory",
        "CollectMode": "inactive-or-failed",
        "Type": "notify",  # active means: every page is there, and stays
        "NotifyAccess": "main",
        "ExecStart": [argv(plan, place.program)],
        "TimeoutStartSec": place.load_timeout_s,
        "SyslogIdentifier": "llm-worker-rbee",
        "Slice": names.SLICE,
        "MemoryMax": plan.size_bytes + _OVERHEAD_BYTES,
        "MemorySwapMax": 0,
        "TasksMax": 16,
        "LimitCORE": 0,
        **({"LimitMEMLOCK": _INFINITY} if place.mode is Mode.SYSTEM else {}),
        **sandbox.properties(plan, dynamic_user=place.mode is Mode.SYSTEM),
        "Environment": {"LANG": "C.UTF-8", "PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1"},
    }
