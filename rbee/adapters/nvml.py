"""The host's NVIDIA GPUs, through NVML. Where there are none, an empty inventory that says why."""

import asyncio
from collections.abc import Callable
from typing import Any

import pynvml

from rbee.wire.pools import Gpu, GpuInventory

_REASONS = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "NVML is not installed: no NVIDIA driver library on this host",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is not loaded",
    pynvml.NVML_ERROR_NO_PERMISSION: "NVML may not be used: no permission on /dev/nvidiactl",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "the NVIDIA driver and its library are of different versions: reboot",
    pynvml.NVML_ERROR_GPU_IS_LOST: "a GPU has fallen off the bus: dmesg | grep -i nvrm",
}


class NvmlProbe:
    """Asks anew each time: a GPU may come (driver loaded) and go (fallen off the bus) while we run."""

    async def inventory(self) -> GpuInventory:
        return await asyncio.to_thread(read_inventory)


def read_inventory() -> GpuInventory:
    """Return what NVML says now."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return GpuInventory(reason=reason(error))
    try:
        return _all_gpus()
    except pynvml.NVMLError as error:
        return GpuInventory(reason=reason(error))
    finally:
        pynvml.nvmlShutdown()


def reason(error: Exception) -> str:
    """Return a sentence for an NVML error."""
    known = _REASONS.get(getattr(error, "value", None))
    return known or f"NVML: {error}"


def _all_gpus() -> GpuInventory:
    gpus, lost = [], []
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            gpus.append(_gpu(index))
        except pynvml.NVMLError as error:
            lost.append(f"gpu {index}: {reason(error)}")
    none = "" if gpus or lost else "NVML knows of no GPU"
    return GpuInventory(
        gpus=tuple(gpus), driver=_text(pynvml.nvmlSystemGetDriverVersion()), reason="; ".join(lost) or none
    )


def _gpu(index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    milliwatts = _asked(pynvml.nvmlDeviceGetPowerUsage, handle)
    utilisation = _asked(pynvml.nvmlDeviceGetUtilizationRates, handle)
    capability = _asked(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
    pci = _asked(pynvml.nvmlDeviceGetPciInfo, handle)
    return Gpu(
        index=index,
        name=_text(pynvml.nvmlDeviceGetName(handle)),
        uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
        memory_total_bytes=int(memory.total),
        memory_used_bytes=int(memory.used),
        memory_free_bytes=int(memory.free),
        utilisation_percent=None if utilisation is None else int(utilisation.gpu),
        temperature_c=_asked(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
        power_w=None if milliwatts is None else milliwatts / 1000,
        pci="" if pci is None else _text(pci.busId),
        compute_capability="" if capability is None else ".".join(map(str, capability)),
    )


def _asked(question: Callable[..., Any], *arguments: Any) -> Any:
    """Return the answer; None where this GPU has none (many laptops tell no power, vGPUs no temperature)."""
    try:
        return question(*arguments)
    except pynvml.NVMLError as error:
        if getattr(error, "value", None) == pynvml.NVML_ERROR_GPU_IS_LOST:
            raise
        return None


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
