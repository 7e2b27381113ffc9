import pytest

from rbee.adapters import process
from tests.unit.keeper.conftest import run


async def test_the_queens_units_are_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    async def systemctl(argv: list[str], **_: object) -> process.Completed:
        asked.append(argv)
        return process.Completed(tuple(argv), 0, "", "")

    monkeypatch.setattr(process, "run", systemctl)
    monkeypatch.setenv("RBEE_POOL_MODE", "system")
    assert (await run("orchestrator", "restart")).out == "rbee-queen restarted\n"
    assert asked == [["systemctl", "--no-ask-password", "restart", "rbee-queen.service"]]
