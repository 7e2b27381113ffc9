from pathlib import Path
from types import SimpleNamespace

import pytest

from rbee.adapters.host import WORKERS, HostProbe, meminfo

MEMINFO = "MemTotal:       16000 kB\nMemFree:         100 kB\nMemAvailable:    8000 kB\nHugePages_Total:       0\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(MEMINFO)
    (tmp_path / "sys/fs/cgroup/memory").mkdir(parents=True)
    return tmp_path


def test_meminfo_is_in_bytes() -> None:
    assert meminfo(MEMINFO)["MemAvailable"] == 8000 * 1024


async def test_a_machine_has_what_its_kernel_says(root: Path) -> None:
    found = await HostProbe(root / "not/there/yet", root).resources()
    assert (found.memory_total_bytes, found.memory_available_bytes) == (16000 * 1024, 8000 * 1024)
    assert found.cpus >= 1
    assert found.disk_free_bytes > 0


@pytest.mark.parametrize(
    ("limit", "used"),
    [("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"), ("memory.max", "memory.current")],
    ids=["v1", "v2"],
)
async def test_a_container_has_what_its_cgroup_allows(root: Path, limit: str, used: str) -> None:
    (root / "sys/fs/cgroup" / limit).write_text("4096000\n")
    (root / "sys/fs/cgroup" / used).write_text("1096000\n")
    found = await HostProbe(root, root).resources()
    assert (found.memory_total_bytes, found.memory_available_bytes) == (4_096_000, 3_000_000)


async def test_the_workers_slice_may_have_a_limit_and_the_pages_of_files_are_to_be_had(root: Path) -> None:
    """``systemctl edit rbee-workers.slice``; in a user's manager it is below that."""
    for slices in (WORKERS, f"user.slice/user-7.slice/user@7.service/{WORKERS}"):
        group = root / "sys/fs/cgroup/memory" / slices
        group.mkdir(parents=True)
        (group / "memory.limit_in_bytes").write_text("3000\n")
        (group / "memory.usage_in_bytes").write_text("2500\n")
        (group / "memory.stat").write_text("cache 9\ntotal_active_file 1000\ntotal_inactive_file 500\n")
        found = await HostProbe(root, root, Path(slices)).resources()
        assert (found.memory_total_bytes, found.memory_available_bytes) == (3000, 2000)
        (group / "memory.limit_in_bytes").unlink()


async def test_no_limit_is_no_limit(root: Path) -> None:
    (root / "sys/fs/cgroup/memory.max").write_text("max\n")
    (root / "sys/fs/cgroup/memory.current").write_text("1\n")
    assert (await HostProbe(root, root).resources()).memory_total_bytes == 16000 * 1024


async def test_of_the_room_to_keep_the_same_is_spared_as_when_it_is_written(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(total=20 << 20, free=3 << 20))
    assert await HostProbe(root, root, cache_dir=root).room_to_keep() == 2 << 20
