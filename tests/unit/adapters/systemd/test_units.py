"""What is kept of a pair whose making was interrupted. FAKE: systemd, by what asking it raises."""

import asyncio
from pathlib import Path

import pytest

from rbee.adapters.systemd.units import SystemdUnits
from rbee.errors import Conflict, NoManager, RbeeError
from rbee.pool_core.ports import UnitFacts, WorkerPlan
from rbee.pool_core.unit import Mode, Place
from tests.fakes.pool import PLAN


class Interrupted(SystemdUnits):
    """Fails in the middle."""

    error: RbeeError

    async def list(self) -> tuple[UnitFacts, ...]:
        return ()

    async def _create_pair(self, plan: WorkerPlan) -> None:
        raise self.error


@pytest.mark.parametrize(("error", "kept"), [(NoManager("the bus is gone"), True), (Conflict("taken"), False)])
async def test_a_secret_goes_unless_its_worker_may_be_there(tmp_path: Path, error: RbeeError, kept: bool) -> None:
    place = Place(mode=Mode.USER, program="/x", secrets=str(tmp_path), watchdog_s=1, load_timeout_s=1, stop_grace_s=1)
    units = Interrupted(place)
    units.error = error
    with pytest.raises(type(error)):
        await units.create(PLAN)
    assert (tmp_path / f"{PLAN.id}.secret").exists() is kept


class Slow(SystemdUnits):
    """Makes the pair when it is told to go on."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self.did: list[str] = []

    async def list(self) -> tuple[UnitFacts, ...]:
        return ()

    async def _create_pair(self, plan: WorkerPlan) -> None:
        self.begun.set()
        await self.go.wait()
        self.did.append(f"made {plan.id}")

    async def stop(self, worker: str) -> None:
        self.did.append(f"stopped {worker}")


async def test_a_pair_whose_making_was_cancelled_is_taken_back_once_it_is_there(tmp_path: Path) -> None:
    place = Place(mode=Mode.SYSTEM, program="/x", secrets=str(tmp_path), watchdog_s=1, load_timeout_s=1, stop_grace_s=1)
    units = Slow(place)
    making = asyncio.create_task(units.create(PLAN))
    await units.begun.wait()
    making.cancel()
    assert await asyncio.wait({making}, timeout=0.1) == (set(), {making})
    units.go.set()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert units.did == [f"made {PLAN.id}", f"stopped {PLAN.id}"]
