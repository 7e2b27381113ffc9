"""Which variables of its unit the broker goes by."""

import pytest

from rbee.broker import main


def test_variables_say_how_workers_are_made_and_not_what_they_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RBEE_WORKER_STOP_GRACE_S", "7")
    monkeypatch.setenv("RBEE_WORKER_WATCHDOG_S", "61.5")
    monkeypatch.setenv("RBEE_POOL_MODELS_DIR", "/etc")
    found = main._settings()
    assert (found.worker.stop_grace_s, found.worker.watchdog_s) == (7, 61.5)
    assert found.pool.models_dir != "/etc"
