"""One thing on many hosts, without any: the work is a function, since what is tested is what becomes of its results."""

import asyncio
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from rbee.adapters.ssh import Remote
from rbee.cli.output import Output
from rbee.errors import NotFound, PoolUnreachable
from rbee.keeper import fleet
from rbee.keeper.fleet import Shown
from rbee.keeper.hosts import Host, chosen, from_here
from tests.unit.keeper.conftest import run

LINE: Shown[str] = Shown(line=str)


def hosts(*names: str) -> list[Host]:
    return [Host(name=name, remote=Remote(name=name, target=name), pool="") for name in names]


async def outcome(names: Sequence[str], *, as_json: bool = False) -> tuple[int, str, str]:
    """Return exit code and both streams of work that fails on hosts called so, and is slower on the first."""

    async def work(host: Host) -> str:
        if host.name == names[0]:
            await asyncio.sleep(0.05)
        if host.name == "dead":
            raise PoolUnreachable("dead cannot be reached", hint="ping dead")
        if host.name == "empty":
            raise NotFound("nothing there")
        return f"did {host.name}"

    output = Output(out=io.StringIO(), err=io.StringIO(), as_json=as_json)
    code = await fleet.on_each(hosts(*names), output, work, LINE)
    assert isinstance(output.out, io.StringIO)
    assert isinstance(output.err, io.StringIO)
    return code, output.out.getvalue(), output.err.getvalue()


async def test_a_line_for_each_as_it_finishes() -> None:
    assert await outcome(["slow", "a"]) == (0, "a     did a\nslow  did slow\n", "")


async def test_a_dead_host_hides_nobody_and_gives_the_exit_code() -> None:
    code, out, err = await outcome(["a", "dead", "b"])
    assert (code, sorted(out.splitlines())) == (69, ["a     did a", "b     did b"])
    assert err == "rbee-keeper dead: dead cannot be reached\nhint: ping dead\n"


async def test_the_first_that_was_named_and_failed_gives_the_code() -> None:
    assert (await outcome(["empty", "dead"]))[0] == 66
    assert (await outcome(["dead", "empty"]))[0] == 69


async def test_json_is_one_document_in_the_order_of_the_hosts() -> None:
    code, out, err = await outcome(["slow", "dead"], as_json=True)
    rows = json.loads(out)
    assert (code, err) == (69, "")
    assert [(row["id"], row["ok"]) for row in rows] == [("slow", True), ("dead", False)]
    assert rows[0]["result"] == "did slow"
    assert (rows[1]["error"]["code"], rows[1]["error"]["hint"]) == ("pool_unreachable", "ping dead")


async def test_a_bug_on_one_host_is_not_swallowed() -> None:
    async def work(_: Host) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fleet.on_each(hosts("a", "b"), Output(out=io.StringIO(), err=io.StringIO()), work, LINE)


async def test_whoever_cancels_ends_the_work_on_every_host() -> None:
    ended: list[str] = []
    begun = asyncio.Event()

    async def work(host: Host) -> str:
        try:
            if host.name == "b":
                begun.set()
            await asyncio.Event().wait()
        finally:
            ended.append(host.name)
        return ""

    output = Output(out=io.StringIO(), err=io.StringIO())
    task = asyncio.ensure_future(fleet.on_each(hosts("a", "b"), output, work, LINE))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == ["a", "b"]


# Which hosts


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "hosts.toml"
    file.write_text('[hosts.workstation]\nssh = "ann@workstation"\n[hosts.mac]\nsudo = true\n')
    monkeypatch.setenv("RBEE_CONFIG", str(file))
    return file


def names(*given: str) -> list[str]:
    return [host.name for host in chosen({"--host": list(given), "--config": None})]


def test_all_are_those_of_the_configuration_each_once(config: Path) -> None:
    assert names("all") == ["workstation", "mac"]
    assert names("mac", "all", "mac") == ["mac", "workstation"]


def test_how_a_host_is_reached_is_in_the_configuration(config: Path) -> None:
    workstation, mac = chosen({"--host": ["all"], "--config": None})
    assert (workstation.remote.target, workstation.remote.sudo) == ("ann@workstation", False)
    assert (mac.remote.target, mac.remote.sudo) == ("mac", True)


def test_an_unknown_host_is_named_with_those_there_are(config: Path) -> None:
    with pytest.raises(NotFound, match=r"no host 'cellar' in .*hosts.toml; there are: workstation, mac"):
        names("cellar")


async def test_no_hosts_at_all_says_how_to_get_one() -> None:
    done = await run("pool", "status", "--host", "all")
    assert (done.code, done.err) == (66, "test: no hosts are known\nhint: rbee-keeper pool register HOST\n")


async def test_http_wants_to_know_where(config: Path) -> None:
    done = await run("pool", "state", "--host", "mac", "--http")
    assert (done.code, "nobody said where the pool of mac listens" in done.err) == (64, True)


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ("rbee-hive models list", "rbee-keeper pool models list --host mac"),
        (
            "rbee-hive models delete tiny --yes; put a whole file there, and rbee-hive models import /m/tiny.gguf",
            "rbee-keeper pool models delete --host mac tiny --yes; put a whole file there, "
            "and rbee-keeper pool models import --host mac /m/tiny.gguf",
        ),
        ("rbee-hive undrain", "rbee-keeper pool undrain --host mac"),
        ("rbee-hive status", "rbee-keeper pool state --host mac"),
        ("sudo rbee-hive git sync --yes", "on mac: sudo rbee-hive git sync --yes"),
        ("ssh mac rbee-hive status; is it up?", "ssh mac rbee-hive status; is it up?"),
        ("df -h /var/lib/rbee", "df -h /var/lib/rbee"),
        ("", ""),
    ],
)
def test_what_a_host_advises_is_said_as_it_is_typed_here(there: str, here: str) -> None:
    assert from_here(there, "mac") == here
