"""Questions to NVML, of which each GPU answers only some, and what its refusals mean."""

from collections.abc import Callable
from typing import Any

import pynvml

_REASONS = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "NVML is not installed: no NVIDIA driver library on this host",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is not loaded",
    pynvml.NVML_ERROR_NO_PERMISSION: "NVML may not be used: no permission on /dev/nvidiactl",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "the NVIDIA driver and its library are of different versions: reboot",
    pynvml.NVML_ERROR_GPU_IS_LOST: "it has fallen off the bus: dmesg | grep -i nvrm",
}


def reason(error: Exception) -> str:
    """Return a sentence for an NVML error."""
    known = _REASONS.get(getattr(error, "value", None))
    return known or f"NVML: {error}"


_RAISED: Any = object()


def asked(question: Callable[..., Any], *arguments: Any, lost: Any = _RAISED) -> Any:
    """Return the answer; None where this GPU has none (many laptops tell no power, vGPUs no temperature).

    Args:
        lost: what to return when the GPU is lost; otherwise that is raised.
    """
    try:
        return question(*arguments)
    except pynvml.NVMLError as error:
        if getattr(error, "value", None) == pynvml.NVML_ERROR_GPU_IS_LOST and lost is _RAISED:
            raise
        return None


def text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
