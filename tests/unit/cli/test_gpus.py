"""What a person sees of a host's GPUs."""

import io
import json

import pytest

from rbee.cli.gpus import gpus_line, show_gpus
from rbee.cli.output import Output
from rbee.wire.pools import Gpu, GpuInventory, GpuProcess

GIB = 1 << 30
HEALTHY = Gpu(
    index=0,
    name="NVIDIA GeForce RTX 4090",
    memory_total_bytes=24 * GIB,
    memory_used_bytes=12 * GIB,
    memory_free_bytes=12 * GIB,
    utilisation_percent=63,
    temperature_c=66,
    power_w=212.4,
    power_limit_w=450,
    pci="00000000:01:00.0",
    compute_capability="8.9",
    processes=(
        GpuProcess(pid=100, memory_bytes=9 * GIB, worker="worker-cuda-0", name="llm-worker-rbee"),
        GpuProcess(pid=7, name="game"),
    ),
)


AMD = Gpu(
    index=0,
    vendor="amd",
    name="AMD GPU 0x164e",
    memory_total_bytes=GIB // 2,
    memory_used_bytes=GIB // 8,
    memory_free_bytes=GIB // 8 * 3,
    pci="0000:0a:00.0",
    processes=(GpuProcess(pid=9, name="sway", memory_bytes=GIB // 16),),
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(inventory: GpuInventory, *, as_json: bool = False, on: io.StringIO | None = None) -> str:
    out = io.StringIO() if on is None else on
    show_gpus(inventory, Output(as_json=as_json, out=out, err=out))
    return out.getvalue()


def test_a_gpu_is_a_line_and_its_users_follow() -> None:
    assert shown(GpuInventory(gpus=(HEALTHY,))).splitlines() == [
        "GPU  NAME      USED                     MEMORY      FREE  LOAD   TEMP      POWER  PCI            CC  STATUS",
        "  0  RTX 4090  █████░░░░░  50 %  12.0/24.0 GiB  12.0 GiB  63 %  66 °C  212/450 W  0000:01:00.0  8.9  ok",
        "",
        "GPU  PID   MEMORY  WHO",
        "  0  100  9.0 GiB  worker-cuda-0 (ours)",
        "  0    7        –  game",
    ]


def test_a_small_terminal_has_no_line_that_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in (80, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = shown(GpuInventory(gpus=(HEALTHY, AMD)), on=Terminal()).splitlines()
        assert max(map(len, lines)) <= columns
        assert ("PCI" in lines[0], "FREE" in lines[0]) == (columns == 120, True)


def test_two_vendors_each_have_a_gpu_0_and_nobody_mixes_them_up() -> None:
    lines = [line.split() for line in shown(GpuInventory(gpus=(HEALTHY, AMD))).splitlines()]
    assert [line[:3] for line in lines[1:3]] == [["nvidia", "0", "RTX"], ["amd", "0", "GPU"]]
    assert [line[:3] for line in lines[5:]] == [["nvidia", "0", "100"], ["nvidia", "0", "7"], ["amd", "0", "9"]]
    assert "128.0/512.0 MiB" in " ".join(lines[2])
    assert "0000:0a:00.0" in lines[2]
    assert gpus_line(GpuInventory(gpus=(HEALTHY, AMD))).startswith("nvidia 0: NVIDIA GeForce RTX 4090, 12.0 GiB of")


def test_what_is_wrong_with_a_gpu_is_a_word_in_its_row_and_a_sentence_below() -> None:
    lost = Gpu(index=0, name="NVIDIA GPU", problem="it has fallen off the bus: dmesg | grep -i nvrm")
    failing = Gpu(index=1, name="x", memory_total_bytes=GIB, xid=79, ecc_errors=1)
    weak = Gpu(index=2, name="y", memory_total_bytes=GIB, ecc_errors=2)
    first, second, third, *below = shown(GpuInventory(gpus=(lost, failing, weak))).splitlines()[1:]
    assert [line.rsplit("  ", 1)[-1] for line in (first, second, third)] == ["failed", "XID 79", "errors"]
    assert below == [
        "gpu 0: it has fallen off the bus: dmesg | grep -i nvrm",
        "gpu 1: XID 79: dmesg | grep -i xid",
        "gpu 1: 1 memory error not corrected",
        "gpu 2: 2 memory errors not corrected",
    ]
    assert gpus_line(GpuInventory(gpus=(lost,))) == "0: NVIDIA GPU, failed"


def test_a_divided_gpu_explains_itself_once_for_all_its_instances() -> None:
    whole = Gpu(index=0, name="NVIDIA H100", memory_total_bytes=80 * GIB, mig=True, problem="MIG is on: no worker")
    part = Gpu(index=1, name="NVIDIA H100 MIG 1g.10gb", memory_total_bytes=10 * GIB, mig=True, parent=0, problem="part")
    lines = shown(GpuInventory(gpus=(whole, part))).splitlines()
    assert lines[1].endswith("divided")
    assert "MIG 1g.10gb" in lines[2] and "H100" not in lines[2] and lines[2].endswith("part of 0")
    assert lines[3:] == ["gpu 0: MIG is on: no worker"]


def test_no_gpus_have_their_reason_and_json_has_everything() -> None:
    assert shown(GpuInventory(reason="the NVIDIA driver is not loaded")) == "no GPUs: the NVIDIA driver is not loaded\n"
    found = json.loads(shown(GpuInventory(gpus=(HEALTHY,)), as_json=True))
    assert found["gpus"][0]["processes"][0]["worker"] == "worker-cuda-0"
