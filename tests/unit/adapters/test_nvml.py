"""NVML's answers are given by hand here: these machines have no GPU. The first test asks the real library."""

from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from rbee.adapters import nvml


async def test_no_gpu_is_an_empty_inventory_with_a_reason() -> None:
    found = await nvml.NvmlProbe().inventory()
    assert bool(found.gpus) != bool(found.reason)


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "NVML is not installed"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "driver is not loaded"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "permission"),
        (pynvml.NVML_ERROR_GPU_IS_LOST, "fallen off the bus"),
        (pynvml.NVML_ERROR_UNKNOWN, "NVML: "),
    ],
)
def test_each_reason_is_a_sentence(code: int, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise pynvml.NVMLError(code)

    monkeypatch.setattr(pynvml, "nvmlInit", refuse)
    assert word in nvml.read_inventory().reason


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A driver with two GPUs; a test may replace an answer by an error."""
    answers: dict[str, Any] = {
        "nvmlInit": None,
        "nvmlShutdown": None,
        "nvmlDeviceGetCount": 2,
        "nvmlSystemGetDriverVersion": "600.1",
        "nvmlDeviceGetHandleByIndex": "handle",
        "nvmlDeviceGetName": b"NVIDIA H200",
        "nvmlDeviceGetUUID": "GPU-1",
        "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=100, used=30, free=70),
        "nvmlDeviceGetPowerUsage": 75_500,
        "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=12),
        "nvmlDeviceGetCudaComputeCapability": (9, 0),
        "nvmlDeviceGetPciInfo": SimpleNamespace(busId=b"0000:01:00.0"),
        "nvmlDeviceGetTemperature": 41,
    }

    def answer(name: str) -> Any:
        def ask(*_: object) -> Any:
            if isinstance(answers[name], Exception):
                raise answers[name]
            return answers[name]

        return ask

    for name in answers:
        monkeypatch.setattr(pynvml, name, answer(name))
    return answers


def test_each_gpu_is_told_in_our_units(driver: dict[str, Any]) -> None:
    found = nvml.read_inventory()
    assert (found.driver, found.reason, len(found.gpus)) == ("600.1", "", 2)
    gpu = found.gpus[0]
    assert (gpu.name, gpu.memory_free_bytes, gpu.power_w, gpu.utilisation_percent) == ("NVIDIA H200", 70, 75.5, 12)
    assert (gpu.temperature_c, gpu.compute_capability, gpu.pci) == (41, "9.0", "0000:01:00.0")


def test_what_a_gpu_does_not_tell_is_left_out(driver: dict[str, Any]) -> None:
    driver["nvmlDeviceGetPowerUsage"] = pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    assert nvml.read_inventory().gpus[0].power_w is None


def test_a_lost_gpu_is_not_counted_and_not_kept_quiet(driver: dict[str, Any]) -> None:
    driver["nvmlDeviceGetMemoryInfo"] = pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
    found = nvml.read_inventory()
    assert found.gpus == ()
    assert "gpu 0: a GPU has fallen off the bus" in found.reason
