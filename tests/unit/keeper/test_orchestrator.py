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
    ("queen", "host", "listens", "asked"),
    [
        ("http://127.0.0.1:8080", None, "127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://blep:8080", None, "[::]:8080", "http://127.0.0.1:8080"),  # units of this machine, which is not blep
        ("http://127.0.0.1:8080", None, "192.0.2.5:8081", "http://192.0.2.5:8081"),
        ("http://192.0.2.5:8080", None, "192.0.2.5:8080", "http://192.0.2.5:8080"),  # an address that is not up yet
        ("http://blep:8080", "blep", "[::]:8080", "http://blep:8080"),
        ("https://blep.lan:8443", "blep", "0.0.0.0:8443", "https://blep.lan:8443"),  # as its certificate names it
        ("http://blep:8080", "mac", "[::]:8080", "http://192.0.2.9:8080"),
        ("http://127.0.0.1:8080", "mac", "[2001:db8::9]:9090", "http://[2001:db8::9]:9090"),
        ("http://mac:8080", "mac", "127.0.0.1:8080", ""),  # nobody but mac itself can ask her
        ("http://127.0.0.1:8080", "far", "[::]:8080", "http://far.lan:8080"),
    ],
)
def test_the_queen_that_is_asked_is_the_one_whose_units_are_shown(
    queen: str, host: str | None, listens: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"blep": "192.0.2.1", "blep.lan": "192.0.2.1", "mac": "192.0.2.9"}
    monkeypatch.setattr(addresses, "_resolved", lambda name: {known.get(name, name)})
    hosts = {
        "blep": config.Host(),
        "mac": config.Host(ssh="ann@mac", pool="http://192.0.2.9:9200"),
        "far": config.Host(ssh="ssh://ann@far.lan:2222"),
    }
    settings = config.Settings(keeper=config.Keeper(queen=queen), hosts=hosts)
    assert orchestrator.asked_at(settings, host, (listens,)) == asked
