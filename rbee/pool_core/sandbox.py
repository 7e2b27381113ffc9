"""What a worker's service may not do. It reads a model, computes, and answers on a socket that is handed to it."""

from collections.abc import Callable, Sequence
from typing import Protocol

from rbee.wire.workers import Backend

DENIED_CALLS = "SystemCallFilterDeny"  # a second SystemCallFilter=, taking away from the first
FIRST_RENDER_NODE = 128
HOMES = ("/home/", "/root/", "/run/user/")


class Confined(Protocol):
    """What the sandbox depends on: the device, and the files."""

    @property
    def backend(self) -> str: ...
    @property
    def gpu(self) -> int | None: ...
    @property
    def gpus(self) -> tuple[int, ...]: ...
    @property
    def files(self) -> tuple[str, ...]: ...


def properties(
    plan: Confined, *, dynamic_user: bool, render_nodes: Callable[[], Sequence[str]] = tuple
) -> dict[str, object]:
    """Return the sandbox; a user's manager can do less of it than the system's."""
    return {**_everywhere(), **(_system(plan, render_nodes) if dynamic_user else _user())}


def device_nodes(plan: Confined, render_nodes: Callable[[], Sequence[str]] = tuple) -> list[str]:
    """Return the device nodes of the plan's GPUs, and of no other as far as is known here."""
    gpus = plan.gpus or (plan.gpu or 0,)
    if plan.backend == Backend.CUDA:
        return ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", *(f"/dev/nvidia{gpu}" for gpu in gpus)]
    if plan.backend not in (Backend.ROCM, Backend.VULKAN):
        return []
    known = render_nodes()
    if plan.backend == Backend.ROCM:
        return ["/dev/kfd", *(known[gpu] if gpu < len(known) else _render_node(gpu) for gpu in gpus)]
    return list(dict.fromkeys(node for gpu in gpus for node in _vulkan(gpu, known)))


def groups(backend: str) -> tuple[str, ...]:
    """Return the groups that workers of ``backend`` are in, by which they may open their devices."""
    return ("render", "video") if backend in (Backend.ROCM, Backend.VULKAN) else ()


def _vulkan(gpu: int, known: Sequence[str]) -> Sequence[str]:
    """Return what Vulkan opens of a GPU: AMD's where AMD has one of that number, else NVIDIA's nodes, or Intel's.

    NVIDIA's driver for Vulkan goes through nodes of its own, and does without the one for rendering.
    """
    if gpu < len(known):
        return [known[gpu]]
    render = _render_node(gpu)
    return ["/dev/nvidiactl", "/dev/nvidia-modeset", f"/dev/nvidia{gpu}", *([] if render in known else [render])]


def _render_node(gpu: int) -> str:
    """Return the node of a GPU whose own is not known: the kernel numbers them as it finds them."""
    return f"/dev/dri/renderD{FIRST_RENDER_NODE + gpu}"


def _everywhere() -> dict[str, object]:
    return {
        "NoNewPrivileges": True,
        "UMask": 0o077,
        "PrivateTmp": True,
        "PrivateUsers": True,
        "ProtectSystem": "strict",  # all is read-only, models too; a path more would not get through a daemon-reload
        "ProtectKernelTunables": True,
        "ProtectControlGroups": True,
        "LockPersonality": True,
        "RestrictRealtime": True,
        "RestrictSUIDSGID": True,
        # None at all is what is meant. systemd 252 writes that to its file as nothing, and reads nothing as no limit
        # when it reloads; to make a cgroup namespace takes CAP_SYS_ADMIN, which is not to be had here.
        "RestrictNamespaces": "cgroup",
        "RestrictAddressFamilies": ["AF_UNIX", "AF_INET", "AF_INET6"],
        "SystemCallArchitectures": ["native"],
        "SystemCallFilter": ["@system-service"],
        DENIED_CALLS: ["@privileged", "@resources"],
        "SystemCallErrorNumber": "EPERM",
        "KeyringMode": "private",
    }


def _system(plan: Confined, render_nodes: Callable[[], Sequence[str]]) -> dict[str, object]:
    nodes = device_nodes(plan, render_nodes)
    joined = groups(plan.backend)
    return {
        "DynamicUser": True,
        "RemoveIPC": True,
        "CapabilityBoundingSet": [],
        # The listening socket was made outside and stays there; nothing the worker opens itself gets anywhere.
        "PrivateNetwork": True,
        "PrivateDevices": not nodes,  # hides GPUs
        "DevicePolicy": "closed",
        "DeviceAllow": [(node, "rw") for node in nodes],
        "ProtectHome": "read-only" if any(path.startswith(HOMES) for path in plan.files) else "yes",
        "ProtectProc": "invisible",
        "ProtectKernelModules": True,
        "ProtectKernelLogs": True,
        "ProtectClock": True,
        "ProtectHostname": True,
        **({"SupplementaryGroups": list(joined)} if joined else {}),
    }


def _user() -> dict[str, object]:
    """Return what holds in a user manager. A venv is often in a home, so that must stay readable."""
    return {"ProtectHome": "read-only"}
