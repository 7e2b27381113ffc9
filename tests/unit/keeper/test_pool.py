from rbee.wire.draining import DrainReason
from rbee.wire.pools import PoolState
from tests.fakes.worker_server import FakePool
from tests.unit.keeper.conftest import House, run


async def test_pools_are_listed(house: House) -> None:
    heading, line = (await run("pool", "list")).out.splitlines()
    assert heading.split() == ["POOL", "STATE", "WORKERS", "MODELS", "GPUS", "HEARD", "VERSION", "URL"]
    assert line.split()[:5] == ["blep", "ready", "1", "1", "0"]
    assert [pool["id"] for pool in (await run("pool", "list", "--format=json")).document] == ["blep"]


async def test_no_pools_says_how_to_get_one(house: House) -> None:
    assert (await run("pool", "remove", "blep", "--yes")).out == "blep removed\n"
    assert (await run("pool", "list")).err == "no pools; rbee-keeper pool register HOST\n"


async def test_one_pool_with_its_workers(house: House) -> None:
    facts, workers = (await run("pool", "status", "blep")).out.split("\n\n")
    assert facts.startswith("pool      blep\nstate     ready\n")
    assert workers.splitlines()[1].startswith("worker-cpu-0")
    assert (await run("pool", "status", "mac")).code == 66


async def test_a_pool_is_asked_who_it_is_before_it_is_registered(house: House) -> None:
    async with FakePool("mac").serve() as mac:
        house.queen.heard.append(mac)
        assert (await run("pool", "register", "mac", f"--url={mac.url}", "--dry-run")).code == 0
        assert mac.asked == 0
        assert (await run("pool", "register", "mac", f"--url={mac.url}", "--format=json")).document["url"] == mac.url
        await house.queen.say(mac)  # the host that was registered is the one that may speak
        assert (await house.queen.client.get_pool("mac")).state is PoolState.READY


async def test_a_pool_that_is_another_is_not_registered(house: House) -> None:
    done = await run("pool", "register", "mac", f"--url={house.pool.url}")
    assert (done.code, f"the pool at {house.pool.url} is blep, not mac" in done.err) == (73, True)
    assert len(await house.queen.client.list_pools()) == 1


async def test_a_pool_that_does_not_answer_is_not_registered(house: House) -> None:
    done = await run("pool", "register", "mac", "--url=http://127.0.0.1:1")
    assert (done.code, done.err.startswith("test: the pool at http://127.0.0.1:1 cannot be reached")) == (69, True)


async def test_a_removal_is_asked_about(house: House) -> None:
    assert (await run("pool", "remove", "blep")).code == 64
    assert (await run("pool", "remove", "blep", "--dry-run")).out == "would remove pool blep\n"
    assert (await run("pool", "remove", "nobody", "--yes")).code == 66
    assert len(await house.queen.client.list_pools()) == 1


async def test_drain_and_undrain(house: House) -> None:
    assert (await run("pool", "drain", "blep", "--dry-run")).out == "would drain blep\n"
    assert house.pool.drained == []
    assert (await run("pool", "drain", "blep")).out == (
        "blep takes no new work; rbee-keeper pool undrain blep ends that\n"
    )
    assert (await house.queen.client.get_pool("blep")).state is PoolState.DRAINING
    assert (await run("pool", "undrain", "blep", "--format=json")).document["id"] == "blep"
    assert house.pool.drained == ["drain", "undrain"]


async def test_the_catalog_says_which_pool_has_what(house: House) -> None:
    tiny = (await run("pool", "models", "catalog", "--format=json")).document[0]
    assert (tiny["id"], tiny["pools"]) == ("tiny", ["blep"])
    assert (await run("pool", "models", "catalog")).out.splitlines()[1].split()[:2] == ["tiny", "blep"]


async def test_a_pool_that_takes_no_work_says_why_and_the_column_is_there_for_nobody_else(house: House) -> None:
    house.pool.draining, house.pool.drain_reason = True, DrainReason.SHUTDOWN
    house.pool.drain_until_ms = 0
    await house.queen.say(house.pool)
    heading, line = (await run("pool", "list")).out.splitlines()
    assert heading.split()[-1] == "WHY"
    assert line.endswith("its host is shutting down")
    why = "its host is shutting down, and what runs goes on at other pools, where it can"
    assert f"why       {why}\n" in (await run("pool", "status", "blep")).out
    assert (await run("pool", "list", "--format=json")).document[0]["drain_reason"] == "shutdown"


async def test_a_deadline_that_a_pool_cannot_be_told_of_is_no_deadline(house: House) -> None:
    house.pool.url = "http://127.0.0.1:1"
    await house.queen.say(house.pool)
    assert (await run("pool", "drain", "blep")).code == 0
    done = await run("pool", "drain", "blep", "--deadline=60")
    assert (done.code, "pool blep gets no new work, but what runs there stays" in done.err) == (69, True)
