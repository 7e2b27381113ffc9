"""A worker that can compute no more says so, and exits: its jobs go on as after any other death."""

from rbee.wire.events import Failure, Token
from rbee.wire.jobs import JobSpec
from rbee.wire.workers import WorkerExit
from tests.fakes.worker_server import FakePool, FakeWorker
from tests.unit.queen.conftest import Running, soon, text_of, words

LOST = Failure(code="worker_lost", message="the thread of worker-cpu-0 that computes has ended", retriable=True)


async def test_its_job_goes_on_where_it_was_once_there_is_another_process(queen: Running) -> None:
    async with FakeWorker().serve() as worker, FakePool("blep", worker).serve() as pool:
        worker.script = [Token(i=n, t=f"w{n} ", ids=(n,)) for n in range(2)] + [LOST]
        await queen.hear(pool)
        job = await queen.client.submit_job(JobSpec(model="tiny", prompt="hello", max_tokens=5))
        await soon(lambda: len(worker.attached_after) > 0)  # she looks whether it goes on there, and it does not
        worker.script = []
        pool.exits[worker.id] = WorkerExit(result="exit-code", code="SOFTWARE", at_ms=1 << 50)
        await worker.die()
        events = await queen.ended(job.id)
        assert text_of(events) == words(5)
        assert len(worker.requests) == 2
