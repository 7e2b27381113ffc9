"""A worker as a pair of transient units: the plan to argv and properties, and argv back to the plan. Pure.

Keys are directives of systemd.unit(5), systemd.socket(5), systemd.service(5), systemd.exec(5), and so on; values
are friendly: seconds, bytes, booleans, lists. ``adapters.systemd`` encodes them for D-Bus, ``render`` as a unit file.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, unquote

from rbee.errors import RbeeError
from rbee.pool_core import names, sandbox
from rbee.pool_core.load import CPU_BATCH_TOKENS
from rbee.pool_core.ports import WorkerPlan

RESTART_S = 1.0
START_LIMIT_S = 600.0
START_LIMIT_BURST = 5
TASKS = 256
"""Threads a worker may have beside those that compute."""
STOP_MARGIN_S = 5.0  # between the end of the worker's own grace and SIGKILL
QUOTED = "--quoted"
_LORA = "--lora="
_UNHARMED = re.compile(r"""[^$;`'"\\\x00-\x1f\x7f]*""")
_LEGIBLE = "/-_.=:,@+~"
WRONG_BY_ITSELF = (64, 65, 78)  # usage, data, configuration: trying again does not heal them (sysexits(3))


class Mode(StrEnum):
    """Which systemd manager has the units."""

    SYSTEM = "system"
    USER = "user"


class NotAWorker(RbeeError):
    """A unit is called like a worker, but its ``ExecStart`` is none of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where and how units are made; the same for all workers of a pool.

    ``program`` is the absolute path of llm-worker-rbee, ``secrets`` the folder with a file for each worker;
    ``render_nodes`` tells the device node of each of AMD's GPUs now, in the order of their indexes; ``llama_lib`` is
    the folder of another llama.cpp than the one its Python package brings, empty for that one; ``cache`` is where the
    manager makes the folders of those who keep conversations, and ``rm`` what removes them.
    """

    mode: Mode
    program: str
    secrets: str
    watchdog_s: float
    load_timeout_s: float
    stop_grace_s: float
    render_nodes: Callable[[], Sequence[str]] = tuple
    llama_lib: str = ""
    cache: str = "/var/cache"
    rm: str = "/bin/rm"


def secret_file(worker: str, place: Place) -> str:
    """Return the path of the worker's secret."""
    return f"{place.secrets}/{worker}.secret"


def kept_folder(worker: str, place: Place) -> str:
    """Return where below ``place.cache`` the worker leaves its conversations: systemd hides those of others' users."""
    stem = names.stem(worker)
    return f"private/{stem}" if place.mode is Mode.SYSTEM else stem


def argv(plan: WorkerPlan, program: str) -> list[str]:
    """Return the command line of the worker; ``plan_from_argv`` reads it back.

    systemd expands ``$`` in commands, and 252 does not get it, nor a ``;``, through its own file unharmed when it
    reloads. A path that has such a character makes all words percent-encoded; what has none stays readable.
    """
    return quoted(program, _words(plan))


def quoted(program: str, words: Sequence[str]) -> list[str]:
    """Return a command line that systemd keeps as it is; see ``argv``."""
    if all(_UNHARMED.fullmatch(word) for word in words):
        return [program, *words]
    return [program, QUOTED, *(quote(word, safe=_LEGIBLE) for word in words)]


def unquoted(words: Sequence[str]) -> list[str]:
    """Return the words that ``quoted`` was given."""
    return [unquote(word) for word in words if word != QUOTED] if QUOTED in words else list(words)


def _words(plan: WorkerPlan) -> list[str]:
    gpus = plan.gpus or (() if plan.gpu is None else (plan.gpu,))
    gpu = [f"--gpu={','.join(map(str, gpus))}"] if gpus else []
    split = [f"--split={','.join(map(str, plan.split))}"] if plan.split else []
    layers = [] if plan.gpu_layers is None else [f"--gpu-layers={plan.gpu_layers}"]
    priority = [f"--priority={plan.priority}"] if plan.priority else []
    said = (
        ("--pinned", plan.pinned),
        ("--spare", plan.spare),
        ("--keep", plan.keep),
        ("--declared", plan.declared),
        ("--limited", plan.limited),
    )
    return [
        f"--id={plan.id}",
        f"--model={plan.model}",
        f"--backend={plan.backend}",
        f"--address={plan.address}",
        f"--ctx={plan.ctx}",
        f"--slots={plan.slots}",
        f"--idle={plan.idle_s}",
        f"--threads={plan.threads}",
        f"--kv={plan.kv}",
        f"--batch={plan.batch}",
        *gpu,
        *split,
        *layers,
        *priority,
        *(word for word, wanted in said if wanted),
        *(f"{_LORA}{path}" for path in plan.adapter_paths),
        *plan.model_paths,
    ]


def plan_from_argv(words: Sequence[str], *, memory_bytes: int = 0, cpu_percent: int | None = None) -> WorkerPlan:
    """Return the plan that ``argv`` made these words from; what argv does not carry comes from the unit's properties.

    Raises:
        NotAWorker: they are not a worker's.
    """
    words = unquoted(words)
    options = dict(word[2:].split("=", 1) for word in words[1:] if word.startswith("--") and "=" in word)
    try:
        gpus = tuple(int(gpu) for gpu in options["gpu"].split(",")) if "gpu" in options else ()
        return WorkerPlan(
            id=options["id"],
            backend=options["backend"],
            model=options["model"],
            model_paths=tuple(word for word in words[1:] if not word.startswith("--")),
            address=options["address"],
            ctx=int(options["ctx"]),
            slots=int(options["slots"]),
            idle_s=int(options["idle"]),
            memory_bytes=memory_bytes,
            gpu=gpus[0] if gpus else None,
            gpus=gpus if len(gpus) > 1 else (),
            split=tuple(int(percent) for percent in options["split"].split(",")) if "split" in options else (),
            pinned="--pinned" in words,
            spare="--spare" in words,
            keep="--keep" in words,
            priority=int(options.get("priority", 0)),
            declared="--declared" in words,
            limited="--limited" in words,
            cpu_percent=cpu_percent,
            threads=int(options["threads"]),
            # Workers that were started before these were there go on, and had none of it.
            kv=options.get("kv", "f16"),
            batch=int(options.get("batch", CPU_BATCH_TOKENS)),
            gpu_layers=int(options["gpu-layers"]) if "gpu-layers" in options else None,
            adapter_paths=tuple(word.removeprefix(_LORA) for word in words if word.startswith(_LORA)),
        )
    except (KeyError, ValueError) as error:
        raise NotAWorker(f"not a worker's command line ({error}): {' '.join(words)[:200]}") from None


def socket_properties(plan: WorkerPlan, place: Place) -> dict[str, object]:
    """Return what the socket unit is made of. systemd binds the port, so two workers cannot share one.

    It is in the slice as well: who stops that ends the workers for good, and not until the next request.
    """
    return {
        "Description": f"rbee worker {plan.id}, {plan.model}: socket",
        "ListenStream": plan.address,
        "NoDelay": True,
        "Slice": names.SLICE,
        **(_forgotten(plan, place) if plan.keep else {}),
    }


def service_properties(plan: WorkerPlan, place: Place) -> dict[str, object]:
    """Return what the service unit is made of."""
    return {
        "Description": f"rbee worker {plan.id}, {plan.model}",
        "CollectMode": "inactive-or-failed",  # leave no corpse that blocks the next start
        # When the host is switched off its streams go on for the stop grace, or move: the network goes after them.
        "After": ["network.target"],
        "StartLimitIntervalSec": START_LIMIT_S,
        "StartLimitBurst": _start_limit_burst(plan.idle_s),
        **_life(plan, place),
        **_limits(plan),
        **sandbox.properties(plan, dynamic_user=place.mode is Mode.SYSTEM, render_nodes=place.render_nodes),
        **(_kept(plan) if plan.keep else {}),
        "LoadCredential": [("secret", secret_file(plan.id, place))],
        "Environment": environment(plan, place),
    }


def environment(plan: WorkerPlan, place: Place) -> dict[str, str]:
    """Return the worker's variables. A user manager's own would leak in where these do not say otherwise."""
    return {
        "PATH": f"{place.program.rpartition('/')[0]}:/usr/local/bin:/usr/bin:/bin",
        "HOME": "/tmp",  # noqa: S108  (the unit's private one)
        "XDG_CACHE_HOME": "/tmp/.cache",  # noqa: S108
        "LANG": "C.UTF-8",
        "HF_HUB_OFFLINE": "1",
        # CUDA would number the fastest first; NVML, and so everybody else here, numbers by the slot on the bus.
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "OMP_NUM_THREADS": str(plan.threads),
        # OpenMP's threads spin while they wait. With a bound on it a busy neighbour costs half instead of two thirds
        # of the tokens; sleeping at once (OMP_WAIT_POLICY=passive) would cost two thirds on an idle machine.
        "GOMP_SPINCOUNT": "10000",
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **({"LLAMA_CPP_LIB_PATH": place.llama_lib} if place.llama_lib else {}),
    }


def render(properties: Mapping[str, object]) -> str:
    """Return service properties as the text of a unit file, for ``systemd-analyze`` and for people."""
    of_unit = {"Description", "CollectMode", "After", "StartLimitIntervalSec", "StartLimitBurst"}
    sections = {"Unit": of_unit & properties.keys(), "Service": properties.keys() - of_unit}
    text = []
    for section, keys in sections.items():
        text.append(f"[{section}]")
        text.extend(line for key in properties if key in keys for line in _lines(key, properties[key]))
    return "\n".join(text) + "\n"


def _start_limit_burst(idle_s: float) -> int:
    """Return how many starts within ``START_LIMIT_S`` are too many: systemd counts those after a sleep as well."""
    return START_LIMIT_BURST + math.ceil(START_LIMIT_S / idle_s)


def _life(plan: WorkerPlan, place: Place) -> dict[str, object]:
    return {
        "Type": "notify",  # active means: weights loaded, first slot open
        "NotifyAccess": "main",  # not the post-mortem, which runs beside no main process
        "ExecStart": [argv(plan, place.program)],
        # Runs in the unit's cgroup, whose counters tell a kill by the kernel's OOM killer from any other (cgroup v1).
        "ExecStopPost": [[place.program, "--post-mortem", f"--id={plan.id}"]],
        "Restart": "on-failure",
        "RestartSec": RESTART_S,
        "RestartPreventExitStatus": WRONG_BY_ITSELF,
        "TimeoutStartSec": place.load_timeout_s,
        "TimeoutStopSec": place.stop_grace_s + STOP_MARGIN_S,
        "WatchdogSec": place.watchdog_s,
        "LimitCORE": 0,  # the watchdog's SIGABRT would write the whole model to disk
        "SyslogIdentifier": "llm-worker-rbee",
    }


def _limits(plan: WorkerPlan) -> dict[str, object]:
    quota = {} if plan.cpu_percent is None else {"CPUQuota": plan.cpu_percent / 100}
    return {
        "Slice": names.SLICE,
        "MemoryMax": plan.memory_bytes,
        "MemorySwapMax": 0,
        "TasksMax": TASKS + plan.threads,
        "OOMScoreAdjust": 500,  # when the host itself runs out, workers go before daemons
        **quota,
    }


def _kept(plan: WorkerPlan) -> dict[str, object]:
    """Return where it leaves its conversations when it goes to sleep: a folder for its user alone."""
    return {"CacheDirectory": [names.stem(plan.id)], "CacheDirectoryMode": 0o700}


def _forgotten(plan: WorkerPlan, place: Place) -> dict[str, object]:
    """Return how what it has kept is removed: when its socket goes, nobody can wake it any more.

    Whoever stops that: we, ``systemctl``, a shutdown. A worker that is writing in this moment may put a file into the
    folder while it is being removed, hence twice; once the folder is gone it can make no other.
    """
    # In the system's manager the second is a link to the first.
    folders = dict.fromkeys([kept_folder(plan.id, place), names.stem(plan.id)])
    words = ["-rf", "--", *folders]
    return {"WorkingDirectory": f"-{place.cache}", "ExecStopPost": [[f"-{place.rm}", *words], [place.rm, *words]]}


def _lines(key: str, value: object) -> list[str]:
    """Return the lines a property takes in a unit file."""
    if key == "CPUQuota" and isinstance(value, float):
        return [f"CPUQuota={value:.0%}"]
    if key.startswith("Exec") and isinstance(value, list):
        return [f"{key}={' '.join(words)}" for words in value]
    if key in ("UMask", "CacheDirectoryMode"):
        return [f"{key}={value:04o}"]
    if isinstance(value, dict):
        return [f'{key}="{name}={text}"' for name, text in value.items()]
    if isinstance(value, bool):
        return [f"{key}={'yes' if value else 'no'}"]
    if isinstance(value, tuple | list):
        return _list_lines(key, value)
    return [f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"]


def _list_lines(key: str, value: Sequence[object]) -> list[str]:
    separator = ":" if key == "LoadCredential" else " "
    if value and isinstance(value[0], tuple):
        return [f"{key}={separator.join(map(str, item))}" for item in value if isinstance(item, tuple)]
    if key == sandbox.DENIED_CALLS:
        return [f"SystemCallFilter=~{' '.join(map(str, value))}"]
    return [f"{key}={' '.join(map(str, value))}"]
