import asyncio
import contextlib
import dataclasses
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from rbee.adapters.broker import BrokerUnits, NoBroker
from rbee.broker import server
from rbee.broker.requests import Bounds
from rbee.broker.server import Broker, Terms
from rbee.errors import Conflict, NotFound, NotPermitted
from rbee.pool_core.ports import PortTaken, WorkerPlan
from tests.fakes.pool import PLACE, PLAN, FakeUnits, facts_of
from tests.rig.waiting import PATIENCE


class Running:
    """A broker over a fake systemd, on a real socket."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "broker.sock")
        self.model = folder / "tiny.gguf"
        self.model.write_text("GGUF")
        self.units = FakeUnits()

    @contextlib.asynccontextmanager
    async def up(self, uid: int | None = None, idle_s: float = 60) -> AsyncIterator["asyncio.Task[None]"]:
        bounds = Bounds(roots=[self.model.parent], ports=(8001, 8999))
        terms = Terms(units=self.units, bounds=bounds)
        broker = Broker(self.units, lambda: terms, [os.getuid() if uid is None else uid], idle_s=idle_s)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(self.path)
            listening.listen()
            task = asyncio.create_task(broker.serve(listening))
            yield task
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    @property
    def client(self) -> BrokerUnits:
        return BrokerUnits(PLACE, self.path)

    def plan(self, **changes: Any) -> WorkerPlan:
        return dataclasses.replace(PLAN, model_paths=(str(self.model),), **changes)

    async def say(self, data: bytes) -> dict[str, Any]:
        reader, writer = await asyncio.open_unix_connection(self.path)
        with contextlib.suppress(ConnectionError):
            writer.write(data)
            writer.write_eof()
        answer: dict[str, Any] = json.loads(await reader.readline())
        writer.close()
        return answer


@pytest.fixture
def broker(tmp_path: Path) -> Running:
    return Running(tmp_path)


async def test_a_worker_is_made_listed_released_and_stopped(broker: Running) -> None:
    async with broker.up():
        await broker.client.create(broker.plan())
        listed = await broker.say(b'{"op":"list"}\n')
        assert [worker["id"] for worker in listed["workers"]] == [PLAN.id]
        await broker.client.release(PLAN.id)
        assert broker.units.released == [PLAN.id]
        await broker.client.stop(PLAN.id)
        assert broker.units.workers == {}


async def test_refusals_arrive_as_what_they_are(broker: Running) -> None:
    broker.units.strangers = {8002}
    async with broker.up():
        await broker.client.create(broker.plan())
        with pytest.raises(Conflict):
            await broker.client.create(broker.plan(address="127.0.0.1:8003"))
        with pytest.raises(PortTaken):
            await broker.client.create(broker.plan(id="other", address="127.0.0.1:8002"))
        with pytest.raises(NotPermitted):
            await broker.client.create(broker.plan(id="other", address="127.0.0.1:22"))
        with pytest.raises(NotFound):
            await broker.client.stop("nobody")


async def test_another_uid_is_refused(broker: Running) -> None:
    async with broker.up(uid=os.getuid() + 1):
        with pytest.raises(NotPermitted, match="may not ask"):
            await broker.client.create(broker.plan())
    assert broker.units.workers == {}


@pytest.mark.parametrize("junk", [b"", b"{\n", b"\xff\xfe\n", b"x" * 100_000, b'{"op":"exec"}\n'], ids=len)
async def test_junk_is_answered_and_survived(broker: Running, junk: bytes) -> None:
    async with broker.up():
        assert (await broker.say(junk))["error"]["code"] == "invalid_request"
        assert await broker.say(b'{"op":"list"}\n') == {"workers": []}


async def test_a_silent_peer_is_not_waited_for(broker: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PEER_S", 0.05)
    async with broker.up():
        reader, writer = await asyncio.open_unix_connection(broker.path)
        assert b"no whole line" in await reader.readline()
        writer.close()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Make it later by so many seconds, for asyncio as well."""
    clock, skipped = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock() + sum(skipped))
    return skipped.append


async def test_an_idle_broker_ends_and_a_busy_one_does_not(broker: Running, later: Callable[[float], None]) -> None:
    async with broker.up(idle_s=600) as serving:
        assert await broker.say(b'{"op":"list"}\n') == {"workers": []}
        assert not serving.done()
        later(601)
        await asyncio.wait_for(serving, 20 * PATIENCE)


async def test_who_is_accepted_in_the_moment_in_which_it_would_end_is_answered(
    broker: Running, later: Callable[[float], None]
) -> None:
    async with broker.up(idle_s=60) as serving:
        await broker.say(b'{"op":"list"}\n')
        for _ in range(10):
            await asyncio.sleep(0)  # nobody is left in it, and it waits for the time to pass
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(broker.path)
            caller.sendall(b'{"op":"list"}\n')
            later(61)  # both are there when the loop looks next
            await asyncio.wait({serving})
            caller.setblocking(False)
            assert caller.recv(4096) == b'{"workers":[]}\n'


async def test_no_broker_says_what_to_enable(broker: Running) -> None:
    with pytest.raises(NoBroker) as refused:
        await broker.client.stop("x")
    assert refused.value.hint == "systemctl enable --now rbee-broker.socket"


class Slow(FakeUnits):
    """Makes and lets go of workers when it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go = asyncio.Event(), asyncio.Event()

    async def create(self, plan: WorkerPlan) -> None:
        await self._pause()
        await super().create(plan)

    async def release(self, worker: str) -> None:
        await self._pause()
        await super().release(worker)

    async def _pause(self) -> None:
        self.begun.set()
        await self.go.wait()


async def _cancelled(units: Slow, asking: Coroutine[Any, Any, None]) -> None:
    """Cancel who asks while the broker is at it; they leave only when it is done."""
    task = asyncio.create_task(asking)
    await units.begun.wait()
    task.cancel()
    assert await asyncio.wait({task}, timeout=0.1) == (set(), {task}), "left behind while the broker went on"
    units.go.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_is_cancelled_waits_for_what_the_broker_has_begun(broker: Running) -> None:
    units = broker.units = Slow()
    async with broker.up():
        units.workers[PLAN.id] = facts_of(PLAN)
        await _cancelled(units, broker.client.release(PLAN.id))
        assert units.released == [PLAN.id]


async def test_a_worker_whose_making_was_cancelled_is_not_left_and_its_name_is_free(broker: Running) -> None:
    units = broker.units = Slow()
    async with broker.up():
        await _cancelled(units, broker.client.create(broker.plan()))
        assert units.workers == {}
        await broker.client.create(broker.plan())
