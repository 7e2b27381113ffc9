"""The machine's clocks, as they are."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbee.adapters import clocks


@pytest.fixture(autouse=True)
def _afresh() -> Iterator[None]:
    clocks.boot.cache_clear()
    yield
    clocks.boot.cache_clear()


def test_the_clocks_are_the_machines_own() -> None:
    assert abs(clocks.wall_ms() / 1000 - time.time()) < 60
    before = clocks.up_ms()
    assert before >= int(time.monotonic() * 1000) - 60_000
    assert clocks.up_ms() >= before


def test_a_boot_has_a_name_as_systemd_writes_it() -> None:
    assert len(bytes.fromhex(clocks.boot())) == 16


def test_a_unit_that_sees_little_of_proc_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(clocks, "_BOOT", tmp_path / "hidden")
    assert clocks.boot() == ""
    clocks.boot.cache_clear()
    monkeypatch.setenv("RBEE_BOOT", "0123")
    assert clocks.boot() == "0123"
