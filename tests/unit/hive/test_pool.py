from rbee.wire.pools import Gpu
from tests.fakes.pool import GIB, FakePool
from tests.unit.hive.conftest import run


async def test_status_shows_the_host_and_its_workers(daemon: str) -> None:
    await run("worker", "spawn", "cpu", "--model=tiny")
    done = await run("status")
    facts, workers = done.out.split("\n\n")
    assert "pool      blep\nstate     ready\n" in facts
    assert "gpus      none: NVML is not installed\n" in facts
    assert "ledger    memory: 7.5 GiB free; workers have 466.5 MiB, others 8.0 GiB\n" in facts
    assert "memory    8.0 GiB available of 16.0 GiB\n" in facts
    assert workers.splitlines()[1].startswith("worker-cpu-0")


async def test_status_as_json_is_one_document_without_secrets(daemon: str) -> None:
    await run("worker", "spawn", "cpu", "--model=tiny")
    document = (await run("status", "--format=json")).document
    assert document["workers"][0]["id"] == "worker-cpu-0"
    assert document["worker_secrets"] == {}


async def test_drain_and_undrain(pool: FakePool, daemon: str) -> None:
    assert (await run("drain", "--dry-run")).out == "would drain this pool\n"
    assert not pool.flag.draining
    assert (await run("drain")).code == 0
    assert pool.flag.draining
    assert (await run("status")).out.splitlines()[1] == "state     draining"
    assert (await run("status")).out.splitlines()[2] == "why       its operator said so"
    refused = await run("worker", "spawn", "cpu", "--model=tiny")
    assert (refused.code, "hint: rbee-hive undrain" in refused.err) == (75, True)
    await run("undrain")
    assert not pool.flag.draining


async def test_a_drain_says_what_becomes_of_what_runs(pool: FakePool, daemon: str) -> None:
    said = "this pool takes no new work, and {} at other pools, where it can; rbee-hive undrain ends that\n"
    assert (await run("drain", "--deadline=90")).out == said.format("what still runs in 1 min 30 s goes on")
    shown = (await run("status")).out
    assert "why       its operator said so, and what still runs in 1 min 30 s goes on at other pools" in shown
    assert (await run("drain", "--deadline=0")).out == said.format("what runs goes on")
    await run("undrain")


async def test_gpus_or_the_reason_why_there_are_none(pool: FakePool, daemon: str) -> None:
    assert (await run("gpu", "status")).err == "no GPUs: NVML is not installed\n"
    assert (await run("gpu", "status", "--format=json")).document["reason"] == "NVML is not installed"
    pool.gpus.gpus = (Gpu(index=0, name="RTX 3060", memory_total_bytes=12 * GIB, memory_free_bytes=11 * GIB),)
    line = (await run("gpu", "status")).out.splitlines()[1]
    assert " ".join(line.split()) == "0 RTX 3060 ░░░░░░░░░░ 0 % 0.0/12.0 GiB 11.0 GiB – – – – – ok"


async def test_the_ledger_tells_gpus_of_one_number_apart(pool: FakePool, daemon: str) -> None:
    made = [Gpu(index=0, name="a gpu", vendor=each, memory_total_bytes=GIB) for each in ("nvidia", "amd")]
    pool.gpus.gpus = (made[0],)
    assert "          gpu 0: 1.0 GiB free;" in (await run("status")).out
    pool.gpus.gpus = tuple(made)
    shown = (await run("status")).out
    assert "          nvidia gpu 0: 1.0 GiB free;" in shown and "          amd gpu 0: 1.0 GiB free;" in shown
