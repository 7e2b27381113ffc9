from typing import Any

import pytest

from rbee import config
from rbee.adapters import addresses, process
from rbee.keeper import orchestrator
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


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("8080", None),
        ("0.0.0.0:8080", None),
        ("[::]:8081", "http://127.0.0.1:8081"),
        ("9000", "http://127.0.0.1:9000"),
        ("192.0.2.1:8080", "http://192.0.2.1:8080"),
        ("[2001:db8::1]:8080", "http://[2001:db8::1]:8080"),
    ],
)
def test_where_this_keeper_finds_a_queen_that_listens_there(address: str, url: str | None) -> None:
    assert orchestrator._found_at(address, "http") == url


@pytest.mark.parametrize(
    ("queen", "host", "asked"),
    [
        ("http://127.0.0.1:8080", None, "http://127.0.0.1:8080"),
        ("http://blep:8080", None, "http://127.0.0.1:8080"),  # units of this machine, which is not blep
        ("http://blep:8080", "blep", "http://blep:8080"),
        ("https://blep.lan:8443", "blep", "https://blep.lan:8443"),  # as its certificate names it
        ("http://blep:8080", "mac", "http://192.0.2.9:8080"),
        ("http://127.0.0.1:8080", "mac", "http://192.0.2.9:8080"),
    ],
)
def test_the_queen_that_is_asked_is_the_one_whose_units_are_shown(
    queen: str, host: str | None, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"blep": {"192.0.2.1"}, "blep.lan": {"192.0.2.1"}, "127.0.0.1": {"127.0.0.1"}, "192.0.2.9": {"192.0.2.9"}}
    monkeypatch.setattr(addresses, "_resolved", lambda name: known[name])
    hosts = {"blep": config.Host(), "mac": config.Host(ssh="ann@mac", pool="http://192.0.2.9:9200")}
    settings = config.Settings(keeper=config.Keeper(queen=queen), hosts=hosts)
    monkeypatch.setattr(orchestrator, "settings_of", lambda _: settings)
    args: dict[str, Any] = {"--host": host}
    assert orchestrator._url(args) == asked
