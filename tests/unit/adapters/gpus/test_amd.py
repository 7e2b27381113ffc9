"""AMD GPUs from a tree that looks like /sys and /proc: these machines have none."""

from pathlib import Path

from rbee.adapters.gpus import GpuProbe, amd

GIB = 1 << 30


def put(root: Path, **files: object) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / name).write_text(f"{text}\n")
    return root


def card(root: Path, number: int, **facts: object) -> Path:
    usual = {
        "vendor": "0x1002",
        "device": "0x744c",
        "mem_info_vram_total": 24 * GIB,
        "mem_info_vram_used": 2 * GIB,
        "gpu_busy_percent": 12,
        "unique_id": f"abc{number}",
        "uevent": f"DRIVER=amdgpu\nPCI_SLOT_NAME=0000:0{number + 3}:00.0",
    }
    device = put(root / f"sys/class/drm/card{number}/device", **(usual | facts))
    put(device / "hwmon/hwmon4", temp1_input=51_000, power1_average=120_000_000, power1_cap=339_000_000)
    return device


def test_a_card_is_told_in_our_units(tmp_path: Path) -> None:
    put(card(tmp_path, 0, product_name="Radeon RX 7900 XTX") / "ras", umc_err_count="ue: 3\nce: 0")
    (gpu,) = amd.read(tmp_path)
    assert (gpu.vendor, gpu.name, gpu.uuid, gpu.pci) == ("amd", "Radeon RX 7900 XTX", "abc0", "0000:03:00.0")
    memory = (gpu.memory_total_bytes, gpu.memory_used_bytes, gpu.memory_free_bytes)
    assert memory == (24 * GIB, 2 * GIB, 22 * GIB)
    assert (gpu.utilisation_percent, gpu.temperature_c, gpu.power_w, gpu.power_limit_w) == (12, 51, 120.0, 339.0)
    assert gpu.ecc_errors == 3


def test_cards_are_numbered_in_their_order_and_others_are_not_amds(tmp_path: Path) -> None:
    for number in (10, 2):
        card(tmp_path, number)
    card(tmp_path, 1, vendor="0x8086")
    card(tmp_path, 3, mem_info_vram_total=0)
    put(tmp_path / "sys/class/drm/card2-DP-1", status="connected")
    assert [(gpu.index, gpu.uuid, gpu.name) for gpu in amd.read(tmp_path)] == [
        (0, "abc2", "AMD GPU 0x744c"),
        (1, "abc10", "AMD GPU 0x744c"),
    ]


def test_each_computes_through_its_own_node_whoever_has_the_first(tmp_path: Path) -> None:
    for number, vendor in ((0, "0x8086"), (1, "0x1002"), (2, "0x1002")):
        (card(tmp_path, number, vendor=vendor) / f"drm/renderD{128 + number}").mkdir(parents=True)
    assert amd.render_nodes(tmp_path) == ("/dev/dri/renderD129", "/dev/dri/renderD130")
    assert amd.render_nodes(tmp_path / "nowhere") == ()


def test_who_uses_a_card_counts_each_client_once(tmp_path: Path) -> None:
    card(tmp_path, 0)
    put(tmp_path / "proc/77", comm="blender")
    client = "drm-driver:\tamdgpu\ndrm-client-id:\t{}\ndrm-pdev:\t0000:03:00.0\ndrm-memory-vram:\t{} KiB\n"
    put(tmp_path / "proc/77/fdinfo", **{"5": client.format(1, 1024), "6": client.format(1, 1024), "7": "pos: 0"})
    put(tmp_path / "proc/77/fdinfo", **{"8": client.format(2, 2048)})
    (user,) = amd.read(tmp_path)[0].processes
    assert (user.pid, user.name, user.memory_bytes) == (77, "blender", 3 << 20)


def test_a_host_without_cards_has_none_and_the_reason_is_nvmls(tmp_path: Path) -> None:
    assert amd.read(tmp_path) == ()
    card(tmp_path, 0)
    found = GpuProbe(tmp_path).read()
    assert ([gpu.vendor for gpu in found.gpus], found.reason) == (["amd"], "")
