"""The host goes, sleeps, wakes up, by a FAKE logind: a queue of what it tells. The clocks of a sleep are a number."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field

import pytest

from rbee.adapters.systemd.logind import Power
from rbee.errors import NotFound, PoolUnreachable, RbeeError, ShuttingDown
from rbee.pool_managerd import leaving
from rbee.pool_managerd.heartbeat import Heartbeat
from rbee.pool_managerd.leaving import Leaving
from rbee.wire.draining import DrainReason
from rbee.wire.pools import Gpu, PoolSnapshot
from rbee.wire.workers import Backend, WorkerSpec, WorkerState
from tests.fakes.pool import PLAN, FakePool, facts_of
from tests.rig.waiting import PATIENCE

LOST = "it has fallen off the bus"
CARD = (Gpu(index=0, name="RTX 3070", uuid="GPU-0"),)


@dataclass
class FakePower:
    """Tells what is put into ``told``; an error is raised, as by a bus that is lost."""

    told: asyncio.Queue[Power | RbeeError] = field(default_factory=asyncio.Queue)
    gone_ahead: asyncio.Queue[Power] = field(default_factory=asyncio.Queue)
    delay_s: float = 5.0

    async def events(self) -> AsyncGenerator[Power, None]:
        while True:
            power = await self.told.get()
            if isinstance(power, RbeeError):
                raise power
            yield power

    def go_ahead(self, power: Power) -> None:
        self.gone_ahead.put_nowait(power)


@dataclass
class Host:
    """A pool with its heartbeat, whose queen keeps what she heard."""

    pool: FakePool = field(default_factory=FakePool)
    power: FakePower = field(default_factory=FakePower)
    heard: list[PoolSnapshot] = field(default_factory=list)
    away: bool = False
    slept_s: float = 0.0
    reconnected: int = 0
    heartbeat: Heartbeat = field(init=False)
    leaving: Leaving = field(init=False)

    def __post_init__(self) -> None:
        self.heartbeat = Heartbeat(self.look, self.send, interval_s=3600)
        self.leaving = Leaving(
            self.pool.condition,
            self.heartbeat,
            self.power,
            pool=lambda: self.pool.service,
            reconnect=self.reconnect,
            now_ms=lambda: self.pool.now_ms,
            slept_s=lambda: self.slept_s,
        )

    async def look(self) -> PoolSnapshot:
        self.leaving.look_at_clocks()
        return await self.pool.service.get_state()

    async def send(self, snapshot: PoolSnapshot) -> None:
        if self.away:
            raise PoolUnreachable("queen cannot be reached")
        self.heard.append(snapshot)

    def reconnect(self) -> None:
        self.reconnected += 1

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.heartbeat.run()), asyncio.create_task(self.leaving.run())]
        await self.heartbeat.tell()
        yield
        await self.leaving.close()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    def works(self, busy: bool) -> None:
        """Let the one worker have a job, or none."""
        words = "busy 1/1 slots" if busy else "ready 0/1 slots"
        self.pool.units.workers[PLAN.id] = facts_of(status_text=words)

    async def until(self, reason: DrainReason | None) -> None:
        """Wait until the queen has heard that this is why the pool drains."""
        async with asyncio.timeout(10 * PATIENCE):
            while self.heard[-1].drain_reason is not reason:  # noqa: ASYNC110
                await asyncio.sleep(0.005)


async def tells(host: Host, power: Power) -> None:
    await host.power.told.put(power)


async def test_a_host_that_goes_waits_until_the_queen_knows_and_no_worker_works() -> None:
    host = Host()
    host.power.delay_s = 60.0
    host.works(True)
    async with host.running():
        await tells(host, Power.OFF)
        await host.until(DrainReason.SHUTDOWN)
        assert host.heard[-1].drain_until_ms == host.heard[-1].at_ms, "what runs is to move now"
        with pytest.raises(ShuttingDown, match="pool blep is draining: its host is shutting down"):
            async for _ in host.pool.service.spawn_worker(WorkerSpec(backend=Backend.CPU, model="tiny")):
                pass
        assert host.power.gone_ahead.empty(), "its worker still works"
        host.works(False)
        assert await asyncio.wait_for(host.power.gone_ahead.get(), 10 * PATIENCE) is Power.OFF


async def test_it_does_not_wait_longer_than_logind_does() -> None:
    host = Host()
    host.power.delay_s = leaving.MARGIN_S + 0.1
    host.works(True)
    async with host.running():
        await tells(host, Power.OFF)
        assert await asyncio.wait_for(host.power.gone_ahead.get(), 10 * PATIENCE) is Power.OFF
        assert [worker.state for worker in host.heard[-1].workers] == [WorkerState.BUSY]


async def test_a_queen_that_is_away_holds_up_nothing() -> None:
    host = Host(away=True)
    async with host.running():
        await tells(host, Power.OFF)
        assert await asyncio.wait_for(host.power.gone_ahead.get(), 10 * PATIENCE) is Power.OFF


async def test_a_shutdown_that_comes_to_nothing_is_forgotten_and_the_operators_drain_is_not() -> None:
    host = Host()
    await host.pool.service.drain_pool()
    async with host.running():
        await tells(host, Power.OFF)
        await host.until(DrainReason.SHUTDOWN)
        await tells(host, Power.STAYS_ON)
        await host.until(DrainReason.OPERATOR)
        await host.pool.service.undrain_pool()
        await host.heartbeat.tell()
        await host.until(None)


async def test_while_a_host_goes_nobody_can_say_that_it_takes_work() -> None:
    host = Host()
    await host.pool.service.drain_pool()
    async with host.running():
        await tells(host, Power.SLEEPS)
        await host.until(DrainReason.SLEEP)
        with pytest.raises(ShuttingDown, match="goes on to drain: its host is going to sleep"):
            await host.pool.service.undrain_pool()
        assert not host.pool.flag.draining, "what the operator said is kept for afterwards"


async def test_after_a_sleep_the_gpus_are_asked_and_the_queen_by_a_new_connection(
    capsys: pytest.CaptureFixture[str],
) -> None:
    host = Host()
    host.pool.gpus.gpus = CARD
    async with host.running():
        await tells(host, Power.SLEEPS)
        assert await asyncio.wait_for(host.power.gone_ahead.get(), 10 * PATIENCE) is Power.SLEEPS
        host.slept_s = 7200.0
        await tells(host, Power.AWAKE)
        await host.until(None)
    assert host.reconnected  # by the clocks as well, when a beat comes before what logind tells
    assert DrainReason.SLEEP in {each.drain_reason for each in host.heard}
    assert "slept_s=7200" in capsys.readouterr().err


@contextlib.asynccontextmanager
async def asking_for_gpus(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    """A host that woke up without its ``CARD``, and asks for it."""
    monkeypatch.setattr(leaving, "GPU_PAUSE_S", 0.01)
    host = Host()
    host.pool.gpus.gpus = CARD
    async with host.running():
        host.pool.gpus.gpus = ()
        await tells(host, Power.AWAKE)
        await host.until(DrainReason.GPU_CHECK)
        yield host


async def test_a_gpu_that_needs_a_while_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with asking_for_gpus(monkeypatch) as host:
        host.pool.gpus.gpus = CARD
        await host.until(None)
    assert [gpu.problem for gpu in host.heard[-1].gpus.gpus] == [""]


async def test_a_host_that_is_switched_off_while_its_gpus_are_asked_takes_no_work_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with asking_for_gpus(monkeypatch) as host:
        await tells(host, Power.OFF)
        assert await asyncio.wait_for(host.power.gone_ahead.get(), 10 * PATIENCE) is Power.OFF
        assert "gpu-check" not in {task.get_name() for task in asyncio.all_tasks()}
        assert host.pool.condition.drain is not None
        assert host.pool.condition.drain.reason is DrainReason.SHUTDOWN


async def test_a_shutdown_that_comes_to_nothing_while_the_gpus_are_asked_has_them_asked_to_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with asking_for_gpus(monkeypatch) as host:
        await tells(host, Power.OFF)
        await host.until(DrainReason.SHUTDOWN)
        before = len(host.heard)
        await tells(host, Power.STAYS_ON)
        await host.until(DrainReason.GPU_CHECK)
        host.pool.gpus.gpus = CARD
        await host.until(None)
    since = [each.drain_reason for each in host.heard[before:]]
    assert since.index(DrainReason.GPU_CHECK) < since.index(None)


async def test_a_host_whose_workers_cannot_be_listed_works_again_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host = Host()
    async with host.running():

        async def silent() -> None:
            raise RbeeError("systemd does not answer")

        monkeypatch.setattr(host.pool.units, "list", silent)
        await tells(host, Power.AWAKE)
        async with asyncio.timeout(10 * PATIENCE):
            while "pool.back" not in capsys.readouterr().err:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert host.pool.condition.drain is None


async def test_a_gpu_that_is_lost_is_said_and_its_worker_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "GPUS_BACK_S", 0.0)
    host = Host()
    plan = dataclasses.replace(PLAN, backend="cuda", gpu=0, id="worker-cuda-0")
    host.pool.gpus.gpus = CARD
    host.pool.units.workers = {PLAN.id: facts_of(PLAN), plan.id: facts_of(plan)}
    async with host.running():
        host.pool.gpus.gpus = (Gpu(index=0, name="RTX 3070", uuid="GPU-0", problem=LOST),)
        await tells(host, Power.AWAKE)
        async with asyncio.timeout(10 * PATIENCE):
            while plan.id in host.pool.units.workers:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        await host.until(None)
    assert list(host.pool.units.workers) == [PLAN.id]
    with pytest.raises(
        NotFound, match="worker worker-cuda-0 lost its GPU: gpu 0 .RTX 3070.: it has fallen off"
    ) as told:
        await host.pool.service.get_worker(plan.id)
    assert told.value.details == {"casualty": True}


async def test_a_sleep_behind_loginds_back_is_seen_by_the_clocks() -> None:
    host = Host()
    async with host.running():
        host.slept_s = 60.0
        await host.heartbeat.tell()
        async with asyncio.timeout(10 * PATIENCE):
            while not host.reconnected:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        await host.until(None)


async def test_who_is_restarted_says_nothing_and_who_is_stopped_does_so_once() -> None:
    host = Host()
    async with host.running():
        await host.leaving.stop(None)
        assert host.pool.condition.drain is None
        host.works(True)
        await asyncio.wait_for(host.leaving.stop(DrainReason.STOP), 10)
        assert host.heard[-1].drain_reason is DrainReason.STOP, "and its worker goes on to work"
        host.works(False)
        await tells(host, Power.OFF)
        assert await asyncio.wait_for(host.power.gone_ahead.get(), 10 * PATIENCE) is Power.OFF
        heard = len(host.heard)
        await host.leaving.stop(DrainReason.SHUTDOWN)
        assert len(host.heard) == heard


async def test_where_nobody_tells_of_the_power_it_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(leaving, "LISTEN_AGAIN_S", 0.0)
    host = Host()
    async with host.running():
        for _ in range(3):
            await host.power.told.put(RbeeError("systemd does not answer on the system bus"))
        await tells(host, Power.OFF)
        assert await asyncio.wait_for(host.power.gone_ahead.get(), 10 * PATIENCE) is Power.OFF
    assert capsys.readouterr().err.count("power.untold") == 1
