"""rbee-keeper pool rollout: change one host after the other, and stop before a broken one becomes two."""

import shlex

from rbee.cli.confirm import dry_run
from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.cli.units import parse_seconds
from rbee.keeper.change import Command
from rbee.keeper.hosts import chosen
from rbee.keeper.rolling import roll, stopped
from rbee.keeper.rollout_plan import Plan, PlanFile


async def rollout(args: Args, output: Output) -> None:
    """Roll ``-- command`` out over the hosts, or go on with the one that stopped.

    Raises:
        StepFailed: names the host and the step.
        NotFound: there is nothing to resume, or no such host.
        Conflict: another rollout runs, or has stopped, and was not forgotten with ``--yes``.
    """
    file = PlanFile.own()
    if args["--dry-run"]:
        plan = _plan(args, file)
        dry_run(args, output, f"run {shlex.join(plan.command)} for {', '.join(plan.left)}, one after the other")
        return
    with file.alone():
        if not args["--resume"]:
            file.require_none(again=bool(args["--yes"]))
        plan = _plan(args, file)
        drain_s = parse_seconds(args["--drain"], "--drain")
        await roll(plan, Command(plan.command), file, args, output, drain_s=drain_s)


def _plan(args: Args, file: PlanFile) -> Plan:
    if args["--resume"]:
        return stopped(file, "rollout")
    return Plan(hosts=tuple(each.name for each in chosen(args)), command=tuple(args["<command>"]))
