"""Workers that come and go with the jobs: one for each need, a spare one for a deep queue, others sent away."""

from rbee.errors import InsufficientMemory, ModelLoadFailed, WorkerLost
from rbee.wire.events import Failure
from rbee.wire.pools import Device, Need
from rbee.wire.workers import Backend, WorkerState
from tests.fakes.worker_server import GIB, FakePool, FakeWorker
from tests.unit.queen.conftest import Running, eventually, soon, text_of, words
from tests.unit.queen.test_service import spec


async def test_one_worker_is_spawned_however_many_jobs_need_it(queen: Running) -> None:
    async with FakeWorker(slots=4).serve() as worker, FakePool("blep").serve() as pool:
        pool.to_spawn = [worker]
        pool.spawning.clear()
        await queen.hear(pool)
        jobs = [await queen.client.submit_job(spec()) for _ in range(40)]
        await soon(lambda: pool.spawned)
        await soon(lambda: "loading" in queen.queen.dispatcher.reasons.of(queen.queen.jobs.live[jobs[0].id]))
        pool.spawning.set()
        await soon(lambda: pool.workers)
        await queen.hear(pool)
        for job in jobs:
            assert text_of(await queen.ended(job.id)) == words(5)
        assert [(asked.model, asked.backend.value) for asked in pool.spawned] == [("tiny", "cpu")]


async def test_a_spawn_that_fails_for_good_fails_the_jobs_that_wait_for_it(queen: Running) -> None:
    async with FakePool("blep").serve() as pool:
        pool.spawn_failures = [ModelLoadFailed("tensor 'x' is truncated")]
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        events = await queen.ended(job.id)
        assert isinstance(events[-1][1], Failure) and events[-1][1].code == "model_load_failed"
        assert len(pool.spawned) == 1


async def test_a_pool_that_has_less_memory_than_it_said_is_asked_again(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep").serve() as pool:
        pool.spawn_failures = [InsufficientMemory("tiny needs 9 bytes, 8 are free", details={"needed_bytes": 9})]
        pool.to_spawn = [worker]
        await queen.hear(pool)
        asked = pool.asked
        job = await queen.client.submit_job(spec())
        await soon(lambda: pool.workers)
        assert pool.asked > asked, "nobody asked the pool how it is"
        await queen.hear(pool)
        assert text_of(await queen.ended(job.id)) == words(5)


async def test_a_spawn_that_fails_for_now_is_tried_again(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep").serve() as pool:
        pool.spawn_failures = [WorkerLost("it died at birth")]
        pool.to_spawn = [worker]
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        await soon(lambda: pool.workers)
        await queen.hear(pool)
        assert text_of(await queen.ended(job.id)) == words(5)
        assert len(pool.spawned) == 2


async def test_an_asleep_worker_is_used(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        pool.states[worker.id] = WorkerState.ASLEEP
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        assert text_of(await queen.ended(job.id)) == words(5)
        assert pool.spawned == []


async def test_a_spare_worker_that_fell_asleep_is_stopped_and_others_are_not(queen: Running) -> None:
    async with (
        FakeWorker().serve() as usual,
        FakeWorker("worker-cpu-1").serve() as spare,
        FakePool("blep", usual, spare).serve() as pool,
    ):
        pool.states = {usual.id: WorkerState.ASLEEP}
        pool.facts = {spare.id: {"spare": True}}
        await queen.hear(pool)
        await queen.client.submit_job(spec(id="first"))
        await queen.ended("first")
        assert pool.gone == set(), "it is awake"
        pool.states[spare.id] = WorkerState.ASLEEP
        await queen.hear(pool)
        await soon(lambda: pool.gone)
        assert pool.gone == {spare.id}


async def test_an_idle_model_is_evicted_for_another_and_both_are_told_why(queen: Running) -> None:
    def device() -> Device:
        free = 8 * GIB if pool.states.get(idle.id) is WorkerState.ASLEEP else 2 * GIB
        return Device(backends=(Backend.CPU,), total_bytes=8 * GIB, free_bytes=free)

    async with (
        FakeWorker(model="other").serve() as idle,
        FakeWorker("worker-cpu-1").serve() as made,
        FakePool("blep", idle, models=("tiny", "other")).serve() as pool,
    ):
        pool.facts = {idle.id: {"need_bytes": 6 * GIB}}
        pool.devices = (device(),)
        pool.needs = (Need(model="tiny", backend=Backend.CPU, bytes=5 * GIB, ctx=512),)
        pool.to_spawn = [made]
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        await soon(lambda: pool.evicted)
        pool.devices = (device(),)
        await queen.hear(pool)
        await soon(lambda: pool.spawned)
        await queen.hear(pool)
        assert text_of(await queen.ended(job.id)) == words(5)
        assert pool.evicted == [idle.id]
        (ran,) = [each for each in (await queen.client.explain_job(job.id)).decisions if each["decision"] == "run"]
        assert "making room for tiny on blep: worker-cpu-0 has to go, which had no job yet" in str(ran["waited"])
        told = {each.worker: each for each in await queen.client.explain_workers()}
        assert [(each.decision, each.job) for each in told[idle.id].decisions] == [("evict", job.id)]
        assert [(each.decision, each.job) for each in told[made.id].decisions] == [("spawn", job.id)]


async def test_a_spare_worker_that_cannot_be_started_harms_nobody(queen: Running) -> None:
    async with (
        FakeWorker().serve() as worker,
        FakePool("blep", worker).serve() as pool,
        FakePool("mac").serve() as mac,
    ):
        worker.pause_at = 1
        mac.spawn_failures = [ModelLoadFailed("tensor 'x' is truncated") for _ in range(50)]
        await queen.hear(pool, mac)
        jobs = [await queen.client.submit_job(spec()) for _ in range(8)]
        await soon(lambda: mac.spawned)
        await soon(lambda: queen.queen.dispatcher.view().failed)
        assert (await queen.client.get_job(jobs[-1].id)).reason == "the slot for tiny is busy"
        worker.pause_at = None
        worker.open.set()
        for job in jobs:
            assert text_of(await queen.ended(job.id)) == words(5)
        assert len(mac.spawned) == 1, "it is left alone for a while"


async def test_what_cannot_be_started_at_one_pool_is_started_at_another(queen: Running) -> None:
    async with FakeWorker().serve() as made, FakePool("blep").serve() as pool, FakePool("mac").serve() as mac:
        pool.spawn_failures = [ModelLoadFailed("tensor 'x' is truncated")]
        mac.to_spawn = [made]
        await queen.hear(pool, mac)
        jobs = [await queen.client.submit_job(spec()) for _ in range(3)]
        await soon(lambda: mac.workers)
        await queen.hear(mac)
        for job in jobs:
            assert text_of(await queen.ended(job.id)) == words(5)
        story = (await queen.client.explain_job(jobs[-1].id)).decisions
        assert [each["decision"] for each in story] == ["accept", "run", "end"]

        async def noted() -> bool:
            return len((await queen.client.explain_job(jobs[0].id)).decisions) == 4

        await eventually(noted)
        story = (await queen.client.explain_job(jobs[0].id)).decisions
        assert [each["decision"] for each in story] == ["accept", "spawn", "run", "end"]
        assert story[1]["sentence"].startswith("started a worker of tiny on mac, which takes")
        ran = story[2]
        assert "no worker could be started on blep: tensor 'x' is truncated" in [w["reason"] for w in ran["waited"]]
        assert {"pool": "blep", "device": "cpu"}.items() <= ran["considered"][1].items()
        assert ran["considered"][1]["found"].endswith("but a worker could not be started there lately")


async def test_a_pool_that_vanishes_before_its_worker_is_up_is_not_waited_for(queen: Running) -> None:
    async with FakeWorker().serve() as made, FakePool("mac").serve() as mac:
        async with FakePool("blep").serve() as gone:
            await queen.hear(gone)
            gone.speak = None
        mac.to_spawn = [made]
        job = await queen.client.submit_job(spec())
        live = queen.queen.jobs.live[job.id]
        await soon(lambda: "trying again" in queen.queen.dispatcher.reasons.of(live))
        await queen.hear(mac)
        await soon(lambda: mac.workers)
        await queen.hear(mac)
        assert text_of(await queen.ended(job.id)) == words(5)


async def test_one_more_while_the_queue_is_deep_and_one_fewer_after(queen: Running) -> None:
    async with (
        FakeWorker().serve() as usual,
        FakeWorker("worker-cpu-1").serve() as spare,
        FakePool("blep", usual).serve() as pool,
        FakePool("mac").serve() as mac,
    ):
        usual.pause_at = 1
        mac.to_spawn = [spare]
        await queen.hear(pool, mac)
        first = await queen.client.submit_job(spec())
        await queen.until(first.id, "running")
        second = await queen.client.submit_job(spec())
        assert not mac.spawned, "one that waits is not many"
        rest = [await queen.client.submit_job(spec()) for _ in range(4)]
        await soon(lambda: mac.workers)
        assert mac.spawned[0].spare
        mac.facts = {spare.id: {"spare": True}}
        await queen.hear(mac)
        for job in (second, *rest):
            await queen.ended(job.id)
        assert {(await queen.client.get_job(job.id)).pool for job in rest} == {"mac"}, "the first is not done yet"
        mac.states = {spare.id: WorkerState.ASLEEP}
        await queen.hear(mac)
        await soon(lambda: mac.gone == {spare.id})
        usual.open.set()
        await queen.ended(first.id)


async def test_the_last_worker_of_a_model_is_kept_though_it_was_a_spare_one(queen: Running) -> None:
    async with (
        FakeWorker().serve() as usual,
        FakeWorker("worker-cpu-1").serve() as spare,
        FakePool("blep", usual, spare).serve() as pool,
    ):
        pool.facts = {spare.id: {"spare": True}}
        pool.states = {spare.id: WorkerState.ASLEEP, usual.id: WorkerState.FAILED}
        await queen.hear(pool)
        job = await queen.client.submit_job(spec())
        assert text_of(await queen.ended(job.id)) == words(5)
        assert pool.gone == set()
