"""What is left of conversations when rbee is removed: nothing, and of other people's folders everything."""

from pathlib import Path

import pytest

from tools import files, layout


def test_what_workers_kept_is_removed_from_a_home_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for name in ("rbee-worker-cpu-0", "rbee", "mesa"):
        (tmp_path / ".cache" / name).mkdir(parents=True)
        (tmp_path / ".cache" / name / "slot-0.bin").write_bytes(b"x")
    files.forget(layout.user(tmp_path))
    assert {path.name for path in (tmp_path / ".cache").iterdir()} == {"rbee", "mesa"}


def test_of_the_system_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    cache, strange = tmp_path / "var/cache", tmp_path / "strange"
    (cache / "private/rbee-worker-cpu-0").mkdir(parents=True)
    (cache / "rbee-worker-cpu-0").symlink_to("private/rbee-worker-cpu-0")
    strange.mkdir()
    (cache / "rbee-worker-x").symlink_to(strange)
    files.forget(layout.system(Path("/usr/local"), tmp_path))
    assert [path.name for path in cache.iterdir()] == ["private"]
    assert list((cache / "private").iterdir()) == []
    assert strange.is_dir()


def test_a_users_manager_may_have_had_another_cache_than_we_and_what_is_no_folder_goes_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cache in (tmp_path / ".cache", tmp_path / "named"):
        cache.mkdir()
        (cache / "rbee-worker-file").touch()
        (cache / "rbee-worker-x").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "named"))
    files.forget(layout.user(tmp_path))
    assert not [*tmp_path.glob("*/rbee-*")]
    monkeypatch.setenv("XDG_CACHE_HOME", "named")
    assert layout.user(tmp_path).caches == (tmp_path / ".cache",)
