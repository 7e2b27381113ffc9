"""UnitManager for user rbee: the broker makes and ends units; all else anybody may ask systemd."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any

from rbee.adapters.systemd.reader import UnitReader
from rbee.adapters.systemd.units import address_problem
from rbee.adapters.whole import whole
from rbee.errors import NoManager, NotPermitted
from rbee.pool_core import names
from rbee.pool_core.ports import HoldPlan, PortTaken, StartProgress, WorkerPlan
from rbee.pool_core.unit import Place
from rbee.wire import codec
from rbee.wire.envelope import from_envelope

ANSWER_S = 150.0
_LONGEST_ANSWER_BYTES = 16 << 20


class NoBroker(NoManager):
    """The broker, which alone may ask systemd for workers, does not answer."""


class BrokerUnits(UnitReader):
    """Asks the broker at ``path``."""

    def __init__(self, place: Place, path: str) -> None:
        super().__init__(place)
        self._path = path

    async def create(self, plan: WorkerPlan) -> None:
        names.check(plan.id)
        try:
            # A worker that is to be up and was never woken would be taken for one that sleeps.
            await self._ask({"op": "start", "plan": codec.plain(plan)}, undo=lambda: self.stop(plan.id))
        except PortTaken:
            # The broker can open no socket to find out whether it is the port or the whole address.
            raise address_problem(plan.address) or PortTaken(f"{plan.address} was taken") from None

    async def start(self, worker: str) -> AsyncIterator[StartProgress]:
        facts = await self.require(worker)
        if facts.service_state == "active":
            yield StartProgress(
                sub_state=facts.service_sub_state, status_text=facts.status_text, done=True, result="done"
            )
            return
        address = self.address(facts)

        async def wake() -> None:
            """Do what a client does: systemd starts the service on the first connection."""
            host, _, port = address.rpartition(":")
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            writer.close()

        progress = self.follow_start(worker, wake)
        async with contextlib.aclosing(progress):
            async for item in progress:
                yield item

    async def stop(self, worker: str) -> None:
        await self._ask({"op": "stop", "id": worker})

    async def release(self, worker: str) -> None:
        await self._ask({"op": "stop", "id": worker, "release": True})

    async def hold(self, plan: HoldPlan) -> None:
        async def wake() -> None:
            wish = {"model": plan.model, "model_paths": list(plan.model_paths)}
            await self._ask({"op": "hold", "held": wish})

        await self.follow_hold(plan, wake)

    async def release_model(self, model: str) -> None:
        await self._ask({"op": "unhold", "id": model})

    async def _ask(
        self, request: Mapping[str, Any], undo: Callable[[], Coroutine[Any, Any, None]] | None = None
    ) -> None:
        """Ask, and be told: the broker does what it has begun also for who has left, and the next would collide."""
        await whole(self._told(request), undo)

    async def _told(self, request: Mapping[str, Any]) -> None:
        answer = await self._exchange(json.dumps(request).encode() + b"\n")
        inner = answer.get("error")
        if isinstance(inner, dict) and inner.get("code") == PortTaken.code:
            raise PortTaken(str(inner.get("message")))
        if inner is not None:
            raise from_envelope(answer, status=500, source="broker")

    async def _exchange(self, line: bytes) -> dict[str, Any]:
        try:
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await asyncio.open_unix_connection(self._path, limit=_LONGEST_ANSWER_BYTES)
                with contextlib.closing(writer):
                    writer.write(line)
                    await writer.drain()
                    said = await reader.readline()
        except PermissionError:
            raise NotPermitted(
                f"uid {os.geteuid()} may not ask the broker at {self._path}",
                hint="run this as root, or through the daemon: rbee-hive --http",
            ) from None
        except (OSError, TimeoutError) as error:
            raise NoBroker(
                f"the broker at {self._path} does not answer: {error or 'too slow'}",
                hint="systemctl enable --now rbee-broker.socket",
            ) from None
        answer = json.loads(said) if said else {}
        if not isinstance(answer, dict) or not answer:
            raise NoBroker("the broker closed without an answer", hint="journalctl -u rbee-broker")
        return answer
