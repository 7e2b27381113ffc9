import pytest

from rbee.adapters import process
from tests.unit.hive.conftest import run


@pytest.mark.parametrize("mode", ["system", "user"])
async def test_the_pools_units_are_meant_in_the_manager_that_has_them(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    async def systemctl(argv: list[str], **_: object) -> process.Completed:
        asked.append(argv)
        return process.Completed(tuple(argv), 0, "", "")

    monkeypatch.setattr(process, "run", systemctl)
    monkeypatch.setenv("RBEE_POOL_MODE", mode)
    assert (await run("daemon", "stop")).out == "rbee-pool stopped\n"
    scope = ["--user"] if mode == "user" else []
    assert asked == [["systemctl", *scope, "--no-ask-password", "stop", "rbee-pool.socket", "rbee-pool.service"]]
