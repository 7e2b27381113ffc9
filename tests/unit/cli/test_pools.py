"""What a person sees of a host's GPUs."""

import io
import json

from rbee.cli.output import Output
from rbee.cli.pools import show_gpus
from rbee.wire.pools import Gpu, GpuInventory, GpuProcess

GIB = 1 << 30
HEALTHY = Gpu(
    index=0,
    name="NVIDIA GeForce RTX 4090",
    memory_total_bytes=24 * GIB,
    memory_used_bytes=12 * GIB,
    utilisation_percent=63,
    temperature_c=66,
    power_w=212.4,
    power_limit_w=450,
    pci="00000000:01:00.0",
    processes=(
        GpuProcess(pid=100, memory_bytes=9 * GIB, worker="worker-cuda-0", name="llm-worker-rbee"),
        GpuProcess(pid=7, name="game"),
    ),
)


def shown(inventory: GpuInventory, *, as_json: bool = False) -> str:
    out = io.StringIO()
    show_gpus(inventory, Output(as_json=as_json, out=out, err=out))
    return out.getvalue()


def test_a_gpu_is_a_line_and_its_users_follow() -> None:
    assert shown(GpuInventory(gpus=(HEALTHY,))).splitlines() == [
        "GPU  NAME      MEMORY                        LOAD   TEMP         POWER  PCI           STATUS",
        "  0  RTX 4090  █████░░░░░  12.0 of 24.0 GiB  63 %  66 °C  212 of 450 W  0000:01:00.0  ok",
        "",
        "GPU  PID   MEMORY  WHO",
        "  0  100  9.0 GiB  worker-cuda-0 (ours)",
        "  0    7        –  game",
    ]


def test_what_is_wrong_with_a_gpu_is_its_status() -> None:
    lost = Gpu(index=0, name="NVIDIA GPU", problem="it has fallen off the bus: dmesg | grep -i nvrm")
    failing = Gpu(index=1, name="x", memory_total_bytes=GIB, xid=79, ecc_errors=1)
    first, second = shown(GpuInventory(gpus=(lost, failing))).splitlines()[1:]
    assert first.endswith("it has fallen off the bus: dmesg | grep -i nvrm")
    assert second.endswith("XID 79: dmesg | grep -i xid; 1 memory error not corrected")


def test_no_gpus_have_their_reason_and_json_has_everything() -> None:
    assert shown(GpuInventory(reason="the NVIDIA driver is not loaded")) == "no GPUs: the NVIDIA driver is not loaded\n"
    found = json.loads(shown(GpuInventory(gpus=(HEALTHY,)), as_json=True))
    assert found["gpus"][0]["processes"][0]["worker"] == "worker-cuda-0"
