"""The host's NVIDIA GPUs, through NVML. Where there are none, an empty inventory that says why."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pynvml

from rbee.adapters.gpus.questions import asked, reason, text
from rbee.adapters.gpus.xid import XidWatch
from rbee.wire.pools import Gpu, GpuInventory, GpuProcess


class Nvml:
    """NVML, opened once and kept open while it answers: a driver that is opened for each look starts anew each time.

    Args:
        root: where /proc is.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._open = False
        self._xids = XidWatch()
        self._before: Mapping[int, Gpu] = {}

    def read(self) -> GpuInventory:
        """Return what NVML says now."""
        try:
            if not self._open:
                pynvml.nvmlInit()
                self._open = True
            return self._inventory()
        except pynvml.NVMLError as error:
            self.close()
            return GpuInventory(reason=reason(error))

    def close(self) -> None:
        """Let the driver go; the next look opens it again."""
        if self._open:
            self._xids.forget()
            self._open = False
            with contextlib.suppress(pynvml.NVMLError):  # a driver in trouble may not even let go
                pynvml.nvmlShutdown()

    def _inventory(self) -> GpuInventory:
        handles = dict(_handles())
        gpus = self._recognised([self._gpu(index, handle) for index, handle in handles.items()])
        xids = self._xids.look({gpu.uuid: handles[gpu.index] for gpu in gpus if not _is_lost(gpu)})
        instances = list(self._instances(gpus, handles))
        driver = text(pynvml.nvmlSystemGetDriverVersion())
        if any(map(_is_lost, gpus)):
            self.close()  # a GPU that was lost is found again only by who opens the driver anew
        return GpuInventory(
            gpus=(*(dataclasses.replace(gpu, xid=xids.get(gpu.uuid)) for gpu in gpus), *instances),
            driver=driver,
            reason="" if gpus else "NVML knows of no GPU",
        )

    def _recognised(self, gpus: list[Gpu]) -> list[Gpu]:
        """Return them, a lost one with the name it had; somebody has to find it in the case."""
        here = {gpu.uuid for gpu in gpus}
        named = [self._as_before(gpu, here) if _is_lost(gpu) else gpu for gpu in gpus]
        self._before = {gpu.index: gpu for gpu in named if gpu.uuid}
        return named

    def _as_before(self, gpu: Gpu, here: set[str]) -> Gpu:
        before = self._before.get(gpu.index)
        if before is None or before.uuid in here:  # the one that had this index has moved to another
            return gpu
        return dataclasses.replace(gpu, name=before.name, uuid=before.uuid, pci=before.pci)

    def _gpu(self, index: int, handle: Any) -> Gpu:
        """Return one GPU; one that does not answer stays in the list with its problem, and nothing free."""
        if isinstance(handle, pynvml.NVMLError):
            return Gpu(index=index, name="NVIDIA GPU", problem=reason(handle))
        try:
            return self._whole(index, handle)
        except pynvml.NVMLError as error:
            name = asked(pynvml.nvmlDeviceGetName, handle, lost=None) or "NVIDIA GPU"
            return Gpu(index=index, name=text(name), problem=reason(error))

    def _whole(self, index: int, handle: Any) -> Gpu:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        milliwatts = asked(pynvml.nvmlDeviceGetPowerUsage, handle)
        limit = asked(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)
        utilisation = asked(pynvml.nvmlDeviceGetUtilizationRates, handle)
        capability = asked(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
        pci = asked(pynvml.nvmlDeviceGetPciInfo, handle)
        mig = (asked(pynvml.nvmlDeviceGetMigMode, handle) or [0])[0] == pynvml.NVML_DEVICE_MIG_ENABLE
        return Gpu(
            index=index,
            name=text(pynvml.nvmlDeviceGetName(handle)),
            uuid=text(pynvml.nvmlDeviceGetUUID(handle)),
            memory_total_bytes=int(memory.total),
            memory_used_bytes=int(memory.used),
            memory_free_bytes=0 if mig else int(memory.free),
            utilisation_percent=None if utilisation is None else int(utilisation.gpu),
            temperature_c=asked(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
            power_w=None if milliwatts is None else milliwatts / 1000,
            power_limit_w=None if limit is None else limit / 1000,
            pci="" if pci is None else text(pci.busId),
            compute_capability="" if capability is None else ".".join(map(str, capability)),
            ecc_errors=asked(
                pynvml.nvmlDeviceGetTotalEccErrors,
                handle,
                pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
                pynvml.NVML_VOLATILE_ECC,
            ),
            mig=mig,
            problem="MIG is on: it is divided into instances, and rbee puts no worker on those" if mig else "",
            processes=self._processes(handle),
        )

    def _instances(self, gpus: list[Gpu], handles: Mapping[int, Any]) -> Iterator[Gpu]:
        """Yield the instances of GPUs that are divided, numbered after the last GPU."""
        number = len(gpus)
        for gpu in (gpu for gpu in gpus if gpu.mig):
            with contextlib.suppress(pynvml.NVMLError):  # lost since we asked for it; the next look says so
                for handle in _parts(handles[gpu.index]):
                    yield self._instance(number, gpu, handle)
                    number += 1

    def _instance(self, index: int, gpu: Gpu, handle: Any) -> Gpu:
        memory = asked(pynvml.nvmlDeviceGetMemoryInfo, handle)
        return Gpu(
            index=index,
            name=text(asked(pynvml.nvmlDeviceGetName, handle) or gpu.name),
            uuid=text(asked(pynvml.nvmlDeviceGetUUID, handle) or ""),
            memory_total_bytes=0 if memory is None else int(memory.total),
            memory_used_bytes=0 if memory is None else int(memory.used),
            pci=gpu.pci,
            compute_capability=gpu.compute_capability,
            mig=True,
            parent=gpu.index,
            problem=f"an instance of gpu {gpu.index}; rbee puts no worker on instances",
            processes=self._processes(handle),
        )

    def _processes(self, handle: Any) -> tuple[GpuProcess, ...]:
        """Return who uses it; who computes and draws is told twice, and counted once with the larger number."""
        found: dict[int, int | None] = {}
        for question in (pynvml.nvmlDeviceGetComputeRunningProcesses, pynvml.nvmlDeviceGetGraphicsRunningProcesses):
            for process in asked(question, handle) or ():
                known, used = found.get(process.pid), process.usedGpuMemory
                found[process.pid] = used if known is None else max(known, used or 0)
        return tuple(
            GpuProcess(pid=pid, name=self._name_of(pid), memory_bytes=used) for pid, used in sorted(found.items())
        )

    def _name_of(self, pid: int) -> str:
        try:
            return (self._root / f"proc/{pid}/comm").read_text(errors="replace").strip()
        except OSError:
            return ""


def _handles() -> Iterator[tuple[int, Any]]:
    """Yield index and handle of each GPU; in place of the handle the error, where there is none to be had."""
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            yield index, pynvml.nvmlDeviceGetHandleByIndex(index)
        except pynvml.NVMLError as error:
            yield index, error


def _parts(handle: Any) -> Iterator[Any]:
    """Yield the handles of a divided GPU's instances; their places may have gaps."""
    for place in range(asked(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        part = asked(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, place)
        if part is not None:
            yield part


def _is_lost(gpu: Gpu) -> bool:
    return bool(gpu.problem) and not gpu.mig
