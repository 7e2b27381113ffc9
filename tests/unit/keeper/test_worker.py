from rbee.errors import InsufficientMemory
from tests.fakes.worker_server import FakeWorker
from tests.unit.keeper.conftest import House, run

SPAWN = ("pool", "worker", "spawn", "cpu", "--model=tiny")


async def test_workers_of_every_pool(house: House) -> None:
    heading, line = (await run("pool", "worker", "list")).out.splitlines()
    assert heading.split()[:3] == ["POOL", "WORKER", "STATE"]
    assert line.split()[:4] == ["blep", "worker-cpu-0", "ready", "tiny"]
    assert (await run("pool", "worker", "list", "--format=json")).document[0]["pool"] == "blep"


async def test_a_spawn_names_pool_and_numbers(house: House) -> None:
    async with FakeWorker("big").serve() as worker:
        house.pool.to_spawn.append(worker)
        done = await run(*SPAWN, "--pool=blep", "--id=big", "--memory=600M", "--format=json")
        assert (done.code, done.document["id"]) == (0, "big")
    spec = house.pool.spawned[0]
    assert (spec.id, spec.memory_bytes) == ("big", 600 << 20)


async def test_a_refusal_of_the_pool_arrives_as_it_was_said(house: House) -> None:
    house.pool.spawn_failures.append(
        InsufficientMemory("the worker needs 9 bytes of memory, 8 are available", hint="stop a worker")
    )
    done = await run(*SPAWN, "--pool=blep")
    assert done.code == 75
    assert "test: the worker needs 9 bytes of memory, 8 are available" in done.err
    assert done.err.endswith("hint: stop a worker\n")


async def test_a_dry_run_spawns_nothing(house: House) -> None:
    assert (await run(*SPAWN, "--dry-run")).out == "would spawn a cpu worker of tiny\n"
    assert house.pool.spawned == []


async def test_a_stop_wants_yes(house: House) -> None:
    assert (await run("pool", "worker", "stop", "worker-cpu-0")).code == 64
    assert house.pool.gone == set()
    assert (await run("pool", "worker", "stop", "worker-cpu-0", "--yes")).out == "worker-cpu-0 stopped\n"
    assert house.pool.gone == {"worker-cpu-0"}
    assert (await run("pool", "worker", "stop", "nobody", "--yes")).code == 66
