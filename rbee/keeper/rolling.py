"""A change that goes round the house, host by host: it stops at the first that does not get through."""

import time
from typing import Any

from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.errors import Conflict
from rbee.keeper.change import Change
from rbee.keeper.hosts import host
from rbee.keeper.rollout_plan import Plan, PlanFile
from rbee.keeper.settings import settings_of
from rbee.keeper.turn import StepFailed, Turn
from rbee.wire.envelope import to_envelope


async def roll(plan: Plan, change: Change, file: PlanFile, args: Args, output: Output, *, drain_s: float) -> None:
    """Give each host that is left in ``plan`` its turn, and keep in ``file`` how far that went.

    Args:
        drain_s: how long to wait for the jobs of a host.

    Raises:
        StepFailed: names the host and the step.
        NotFound: one of them is no host of the configuration any more.
    """
    settings = settings_of(args)
    hosts = [host(settings, name) for name in plan.left]
    file.write(plan)
    told: list[dict[str, Any]] = []
    for each in hosts:
        began = time.monotonic()
        turn = Turn(each, change, plan, file, args=args, output=output, drain_s=drain_s)
        row: dict[str, Any] = {"id": each.name, "ok": False, "steps": turn.told}
        told.append(row)
        try:
            await turn.run()
            row["ok"] = True
        except StepFailed as error:
            row.update(to_envelope(error, source=each.name))
            raise
        finally:
            row["seconds"] = round(time.monotonic() - began, 1)
            if output.as_json and (not row["ok"] or each is hosts[-1]):
                output.table(told, [], none="")
        plan = turn.plan.through(each.name)
        file.write(plan)


def stopped(file: PlanFile, verb: str) -> Plan:
    """Return the plan of the ``verb`` that has stopped.

    Raises:
        NotFound: none has.
        Conflict: what has stopped is of the other kind.
    """
    plan = file.read()
    if plan.verb != verb:
        raise Conflict(
            f"what has stopped is a {plan.verb}, at {plan.left[0]}", hint=f"rbee-keeper pool {plan.verb} --resume"
        )
    return plan
