"""What is kept of a pair whose making was interrupted. FAKE: systemd, by what asking it raises."""

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
