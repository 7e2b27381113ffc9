"""AMD GPUs, as the amdgpu driver tells of them in /sys (docs.kernel.org/gpu/amdgpu/driver-misc.html)."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from rbee.wire.pools import Gpu, GpuProcess

VENDOR = "0x1002"
_CARD = re.compile(r"card\d+")
_MICRO, _MILLI = 1_000_000, 1000


def read(root: Path = Path("/")) -> tuple[Gpu, ...]:
    """Return the GPUs with memory of their own, numbered in the order of their cards."""
    whole = _devices(root)
    users = _users(root) if whole else {}
    return tuple(_gpu(index, device, users) for index, device in enumerate(whole))


def render_nodes(root: Path = Path("/")) -> tuple[str, ...]:
    """Return the node through which each of them computes, in the same order."""
    nodes = (next(iter(sorted((device / "drm").glob("renderD*"))), None) for device in _devices(root))
    return tuple(f"/dev/dri/{node.name}" for node in nodes if node is not None)


def _devices(root: Path) -> list[Path]:
    cards = sorted(_cards(root), key=lambda card: int(card.name.removeprefix("card")))
    devices = [card / "device" for card in cards if _text(card / "device/vendor") == VENDOR]
    return [device for device in devices if _number(device / "mem_info_vram_total")]


def _cards(root: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for entry in (root / "sys/class/drm").iterdir():
            if _CARD.fullmatch(entry.name):
                yield entry


def _gpu(index: int, device: Path, users: dict[str, list[GpuProcess]]) -> Gpu:
    total, used = _number(device / "mem_info_vram_total") or 0, _number(device / "mem_info_vram_used") or 0
    sensors = next(iter(sorted((device / "hwmon").glob("hwmon*"))), device / "hwmon/none")
    microwatts = _number(sensors / "power1_average") or _number(sensors / "power1_input")
    limit, heat = _number(sensors / "power1_cap"), _number(sensors / "temp1_input")
    pci = _slot(device)
    return Gpu(
        index=index,
        name=_text(device / "product_name") or f"AMD GPU {_text(device / 'device')}",
        vendor="amd",
        uuid=_text(device / "unique_id"),
        memory_total_bytes=total,
        memory_used_bytes=used,
        memory_free_bytes=max(0, total - used),
        utilisation_percent=_number(device / "gpu_busy_percent"),
        temperature_c=None if heat is None else heat // _MILLI,
        power_w=None if microwatts is None else microwatts / _MICRO,
        power_limit_w=None if limit is None else limit / _MICRO,
        pci=pci,
        ecc_errors=_uncorrected(device / "ras/umc_err_count"),
        processes=tuple(users.get(pci, ())),
    )


def _users(root: Path) -> dict[str, list[GpuProcess]]:
    """Return who has memory on which PCI device; only those whose files we may read.

    One client of the driver may have several descriptors (docs.kernel.org/gpu/drm-usage-stats.html), and counts once.
    """
    found: dict[str, list[GpuProcess]] = {}
    for process in (root / "proc").glob("[0-9]*"):
        clients: dict[tuple[str, str], int] = {}
        for said in _descriptors(process / "fdinfo"):
            if said.get("drm-driver") == "amdgpu":
                kib = said.get("drm-memory-vram", "0").split()[0]
                clients[said.get("drm-pdev", ""), said.get("drm-client-id", "")] = int(kib) * 1024
        for pci in {pci for pci, _ in clients}:
            used = sum(size for (where, _), size in clients.items() if where == pci)
            one = GpuProcess(pid=int(process.name), name=_text(process / "comm"), memory_bytes=used)
            found.setdefault(pci, []).append(one)
    return found


def _descriptors(folder: Path) -> Iterator[dict[str, str]]:
    with contextlib.suppress(OSError):
        for file in folder.iterdir():
            lines = _text(file).splitlines()
            pairs = (line.partition(":") for line in lines if line.startswith("drm-"))
            yield {key: value.strip() for key, _, value in pairs}


def _slot(device: Path) -> str:
    lines = _text(device / "uevent").splitlines()
    return next((line.removeprefix("PCI_SLOT_NAME=") for line in lines if line.startswith("PCI_SLOT_NAME=")), "")


def _uncorrected(file: Path) -> int | None:
    found = re.search(r"ue:\s*(\d+)", _text(file))
    return int(found[1]) if found else None


def _number(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text.isdigit() else None


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""
