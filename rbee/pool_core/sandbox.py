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
    """Return the device nodes of the plan's GPUs, and of no other."""
    gpus = plan.gpus or (plan.gpu or 0,)
    if plan.backend == Backend.CUDA:
        return ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", *(f"/dev/nvidia{gpu}" for gpu in gpus)]
    if plan.backend in (Backend.ROCM, Backend.VULKAN):
        known = render_nodes()  # another vendor's GPU may have the first
        nodes = (known[gpu] if gpu < len(known) else f"/dev/dri/renderD{FIRST_RENDER_NODE + gpu}" for gpu in gpus)
        return ["/dev/kfd", *nodes]
    return []


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
    groups: dict[str, object] = {"SupplementaryGroups": ["render", "video"]} if plan.backend in _BY_GROUP else {}
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
        **groups,
    }


def _user() -> dict[str, object]:
    """Return what holds in a user manager. A venv is often in a home, so that must stay readable."""
    return {"ProtectHome": "read-only"}


_BY_GROUP = (Backend.ROCM, Backend.VULKAN)
