"""rbee-keeper pool sync: each host a line, its failures as a person at the keeper reads them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rbee.pool_core.declared import Declaration
from rbee.wire.workers import Backend, WorkerShape
from tests.fakes.pool import FakePool
from tests.support.pool_daemon import pool_daemon
from tests.unit.keeper.conftest import run
from tests.unit.queen.conftest import TOKEN

SHAPE = WorkerShape(backend=Backend.CPU, model="tiny")


@pytest.fixture
async def pools(tmp_path: Path) -> AsyncIterator[dict[str, FakePool]]:
    """Two hosts whose pool-managerd is asked over HTTP."""
    made = {name: FakePool(declaration=Declaration(workers={"chat": SHAPE})) for name in ("mac", "workstation")}
    async with (
        pool_daemon(made["mac"], tokens=(TOKEN,)) as mac,
        pool_daemon(made["workstation"], tokens=(TOKEN,), name="another") as workstation,
    ):
        tables = (f'[hosts.{name}]\npool = "{url}"\n' for name, url in (("mac", mac), ("workstation", workstation)))
        (tmp_path / "rbee.toml").write_text("".join(tables))
        yield made


async def test_each_host_is_a_line(pools: dict[str, FakePool]) -> None:
    done = await run("pool", "sync", "--host=all", "--http")
    assert (done.code, sorted(done.out.splitlines())) == (0, ["mac          1 done", "workstation  1 done"])
    assert [set(pool.units.workers) for pool in pools.values()] == [{"chat"}, {"chat"}]


async def test_what_failed_on_a_host_is_said_with_what_to_do_from_here(pools: dict[str, FakePool]) -> None:
    pools["mac"].flag.draining = True
    done = await run("pool", "sync", "--host=all", "--http")
    assert done.code == 75
    assert "mac          1 failed" in done.out.splitlines()
    assert "rbee-keeper mac: chat: pool blep is draining: its operator said so" in done.err.splitlines()
    assert "hint: rbee-keeper pool undrain --host mac" in done.err.splitlines()


async def test_one_host_shows_its_steps(pools: dict[str, FakePool]) -> None:
    done = await run("pool", "sync", "--host=mac", "--http", "--dry-run")
    assert done.out.splitlines()[1] == "start  chat  planned  it is not there"
    assert pools["mac"].units.workers == {}


async def test_json_is_one_document(pools: dict[str, FakePool]) -> None:
    done = await run("pool", "sync", "--host=all", "--http", "--format=json")
    assert [(row["id"], row["result"]["steps"][0]["state"]) for row in done.document] == [
        ("mac", "done"),
        ("workstation", "done"),
    ]
