"""What pool register decides before it speaks to anybody; what it does is in tests/fleet."""

from pathlib import Path

import pytest

from rbee import config
from rbee.keeper import registering
from tests.unit.keeper.conftest import run


@pytest.mark.parametrize(
    ("queen", "here", "expected"),
    [
        ("http://127.0.0.1:8080", "10.0.0.1", "http://10.0.0.1:8080"),
        ("https://localhost:8080", "fd00::1", "https://[fd00::1]:8080"),
        ("http://0.0.0.0:8080", "10.0.0.1", "http://10.0.0.1:8080"),
        ("http://[::]:8080", "10.0.0.1", "http://10.0.0.1:8080"),
        ("http://blep.home.arpa:8080", "10.0.0.1", "http://blep.home.arpa:8080"),
    ],
)
def test_her_loopback_is_ours_and_not_the_hosts(queen: str, here: str, expected: str) -> None:
    assert registering._seen_from_there(queen, here) == expected


def test_only_what_is_not_so_by_itself_is_written_down() -> None:
    new, old = config.Host(), config.Host(ssh="root@10.0.0.5")
    table = registering._host_table("mac", new, "mac", sudo=False, url="http://10.0.0.3:9200")
    assert table == {("hosts", "mac", "pool"): "http://10.0.0.3:9200"}
    assert registering._host_table("mac", old, old.ssh, sudo=False, url="u").keys() == {("hosts", "mac", "pool")}
    assert registering._host_table("mac", old, "mac", sudo=False, url="u")[("hosts", "mac", "ssh")] is None
    table = registering._host_table("mac", new, "ann@mac", sudo=True, url="u")
    assert table[("hosts", "mac", "ssh")] == "ann@mac"
    assert table[("hosts", "mac", "sudo")] is True


@pytest.mark.parametrize("name", ["$(reboot)", "MAC", "../mac", "a b", "-oProxyCommand=x"])
async def test_a_name_that_is_none_is_refused(name: str) -> None:
    if name.startswith("-"):
        name = f"x{name}"
    done = await run("pool", "register", name)
    assert (done.code, "expected it to match" in done.err) == (64, True)


async def test_without_a_token_there_is_nothing_to_give(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RBEE_KEEPER_TOKEN_FILE", str(tmp_path / "none"))
    done = await run("pool", "register", "mac")
    assert (done.code, "rbee-keeper token new" in done.err) == (78, True)


async def test_a_dry_run_says_what_would_be_written_where(tmp_path: Path) -> None:
    done = await run("pool", "register", "mac", "--ssh", "ann@mac", "--dry-run")
    assert done.out == f"would make mac (ann@mac) a pool, and write [hosts.mac] to {tmp_path}/rbee.toml\n"


@pytest.mark.parametrize(
    ("there", "lan", "expected"),
    [
        ("127.0.1.1", "192.0.2.5", ("192.0.2.5", "192.0.2.5")),
        ("127.0.1.1", None, ("127.0.0.1", "127.0.1.1")),
        ("192.0.2.9", "192.0.2.5", ("127.0.0.1", "192.0.2.9")),
    ],
)
def test_a_name_that_means_loopback_here_is_not_told_to_others(
    there: str, lan: str | None, expected: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registering, "address_towards", lambda _: lan)
    assert registering._for_others("127.0.0.1", there, config.Settings()) == expected
