"""UnitManager over D-Bus, for those who may: root, a user with their own manager, the broker."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from rbee.adapters.systemd import kept
from rbee.adapters.systemd.bus import SOCKET, Bus
from rbee.adapters.systemd.reader import UnitReader
from rbee.adapters.systemd.watch import Watch
from rbee.adapters.threads import in_thread
from rbee.adapters.whole import whole
from rbee.errors import Conflict, InvalidRequest, NoManager, NotFound, RbeeError
from rbee.pool_core import held, names, unit
from rbee.pool_core.ports import HoldPlan, PortTaken, StartProgress, WorkerPlan
from rbee.pool_core.unit import Mode, Place

FORGET_S = 5.0


class SystemdUnits(UnitReader):
    """Makes and ends workers' units in one manager."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)

    async def create(self, plan: WorkerPlan) -> None:
        await whole(self._create(plan), undo=lambda: self.stop(plan.id))

    async def _create(self, plan: WorkerPlan) -> None:
        names.check(plan.id)
        there = [facts.id for facts in await self.list()]
        self.secrets.sweep(there)
        if self.mode is Mode.USER:
            await asyncio.to_thread(kept.sweep, Path(self.place.cache), there)
        made = await asyncio.to_thread(self.secrets.ensure, plan.id)
        try:
            await self._create_pair(plan)
        except NoManager:  # the pair may be there, and needs it
            raise
        except BaseException:
            if made:
                self.secrets.forget(plan.id)
            raise

    async def start(self, worker: str) -> AsyncIterator[StartProgress]:
        async def wake() -> None:
            await asyncio.to_thread(self._call, b"StartUnit", names.service(worker))

        await self.require(worker)
        progress = self.follow_start(worker, wake)
        async with contextlib.aclosing(progress):
            async for item in progress:
                yield item

    async def stop(self, worker: str) -> None:
        facts = await self.require(worker)
        pair = (names.socket(worker), names.service(worker))
        async with Watch(self.mode) as watch:
            if job := await whole(self._begin_to_stop(worker, watch)):
                await watch.jobs(job)
        keeps = unit.plan_from_argv(facts.argv).keep
        result = await asyncio.to_thread(self._socket_result, pair[0]) if keeps else ""
        await self._forget(*pair)
        if keeps:
            await asyncio.to_thread(kept.require_removed, worker, self.place, result)

    async def release(self, worker: str) -> None:
        await self.require(worker)
        async with Watch(self.mode) as watch:
            if job := await in_thread(self._stop_job, names.socket(worker)):
                await watch.jobs(job)

    async def hold(self, plan: HoldPlan) -> None:
        async def wake() -> None:
            await self.begin_to_hold(plan)

        await self.follow_hold(plan, wake)

    async def begin_to_hold(self, plan: HoldPlan) -> None:
        """Start the unit, and do not wait for it."""
        await asyncio.to_thread(self._start_holding, plan)

    async def release_model(self, model: str) -> None:
        unit_name = held.service(model)
        if model not in [facts.model for facts in await self.held()]:
            raise NotFound(f"model {model} is not held in memory", hint="rbee-hive models list")
        async with Watch(self.mode) as watch:
            if job := await in_thread(self._stop_job, unit_name):
                await watch.jobs(job)
        await self._forget(unit_name)

    def _start_holding(self, plan: HoldPlan) -> None:
        with Bus(self.mode) as bus:
            try:
                bus.start_transient(held.service(plan.model), held.properties(plan, self.place))
            except Conflict:
                raise Conflict(f"model {plan.model} is held in memory already", hint="rbee-hive status") from None

    async def _create_pair(self, plan: WorkerPlan) -> None:
        name = names.socket(plan.id)
        service = (names.service(plan.id), unit.service_properties(plan, self.place))
        async with Watch(self.mode) as watch:
            job = await asyncio.to_thread(
                self._start_transient, name, unit.socket_properties(plan, self.place), service
            )
            result = (await watch.jobs(job))[job]
        if result != "done":
            why = await asyncio.to_thread(self._why_no_socket, name, plan.address)
            await self._forget(name, service[0])
            raise why

    def _start_transient(
        self, name: str, properties: dict[str, object], service: tuple[str, dict[str, object]]
    ) -> bytes:
        with Bus(self.mode) as bus:
            try:
                return bus.start_transient(name, properties, service)
            except Conflict:
                raise Conflict(f"there is a worker in unit {name} already", hint="rbee-hive worker list") from None

    def _why_no_socket(self, name: str, address: str) -> RbeeError:
        result = self._socket_result(name)
        if result == "resources":  # bind or listen failed, and systemd tells nobody but the journal why
            return address_problem(address) or PortTaken(f"{address} was taken")
        return RbeeError(f"{name} did not start: {result}", hint=f"journalctl -u {name}", details={"result": result})

    def _socket_result(self, name: str) -> str:
        with Bus(self.mode) as bus:
            result: bytes = bus.properties(name, SOCKET).get("Result", b"")
            return result.decode()

    def _call(self, method: bytes, name: str) -> bytes:
        with Bus(self.mode) as bus:
            job: bytes = bus.call(method, b"ss", name.encode(), b"replace")
            return job

    async def _begin_to_stop(self, worker: str, watch: Watch) -> bytes | None:
        """Stop the socket, wait for that, and return the job that stops the service.

        Both at once would hinder each other: for the post-mortem of the service systemd makes the folder of its
        conversations again and mounts it, while the socket removes it (``unit.socket_properties``). Either then fails.
        """
        if job := await in_thread(self._stop_job, names.socket(worker)):
            await watch.jobs(job)
        return await in_thread(self._stop_service, worker)

    def _stop_service(self, worker: str) -> bytes | None:
        job = self._stop_job(names.service(worker))
        # Before the unit is gone: whoever takes the name next makes a secret of their own.
        self.secrets.forget(worker)
        return job

    def _stop_job(self, name: str) -> bytes | None:
        try:
            return self._call(b"StopUnit", name)
        except NotFound:
            return None

    async def _forget(self, *pair: str) -> None:
        """Clear failed states and wait until systemd has dropped the units, so that their names are free."""
        async with Watch(self.mode) as watch:
            left = await asyncio.to_thread(self._reset_failed, pair)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FORGET_S):
                    await watch.removal(*left)

    def _reset_failed(self, pair: tuple[str, ...]) -> list[str]:
        """Return those of the units that are still loaded."""
        with Bus(self.mode) as bus:
            for name in pair:
                with contextlib.suppress(NotFound):
                    bus.call(b"ResetFailedUnit", b"s", name.encode())
            listed = bus.call(b"ListUnitsByNames", b"as", [name.encode() for name in pair]) or []
            return [row[0].decode() for row in listed if row[2] == b"loaded"]


def address_problem(address: str) -> RbeeError | None:
    """Return why nobody can listen on ``address`` now, by trying; None when one can."""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host.strip("[]"), int(port)))
            probe.listen()
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EAFNOSUPPORT):  # the broker may open no such socket to find out
            return PortTaken(f"port {port} is taken on {host}")
        return InvalidRequest(f"cannot listen on {address}: {error.strerror}", hint="correct [pool] url or bind")
    return None
