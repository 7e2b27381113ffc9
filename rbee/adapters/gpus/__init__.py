"""The GPUs of this host: NVIDIA's through NVML, AMD's as the kernel tells of them in /sys."""

from rbee.adapters.gpus.probe import GpuProbe

__all__ = ["GpuProbe"]
