"""rbee-keeper pool deploy: a rollout whose change is a switch to each host's NixOS configuration."""

import dataclasses
from pathlib import Path
from typing import Any

from rbee.adapters import process
from rbee.adapters.nixos import here, there
from rbee.adapters.nixos.flake import Flake
from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.cli.units import parse_seconds
from rbee.errors import InvalidRequest
from rbee.keeper.change import teller
from rbee.keeper.hosts import Host, chosen, host
from rbee.keeper.rolling import roll, stopped
from rbee.keeper.rollout_plan import Deployment, Plan, PlanFile
from rbee.keeper.settings import settings_of
from rbee.keeper.switching import Switch


async def deploy(args: Args, output: Output) -> None:
    """Switch the hosts to what the flake says they are, or go on with the deploy that stopped.

    Raises:
        StepFailed: names the host and the step.
        NotFound: there is nothing to resume, no such host, no flake, or nothing of a host in it.
        ConfigInvalid: the configuration of a host makes no pool of it, or cannot be evaluated.
        Conflict: another rollout or deploy runs, or has stopped, and was not forgotten with ``--yes``.
    """
    drain_s = parse_seconds(args["--drain"], "--drain")
    file = PlanFile.own()
    if args["--dry-run"]:
        switch, hosts = await _understood(_plan(args, file), args, output)
        await _rehearsed(switch, hosts, output)
        return
    with file.alone():
        if not args["--resume"]:
            file.require_none(again=bool(args["--yes"]))
        plan = _plan(args, file)
        switch, _ = await _understood(plan, args, output)
        await roll(plan, switch, file, args, output, drain_s=drain_s)


def _plan(args: Args, file: PlanFile) -> Plan:
    if not args["--resume"]:
        return Plan(hosts=tuple(each.name for each in chosen(args)), deployment=_deployment(args))
    plan = stopped(file, "deploy")
    if not args["--auto-rollback"] or plan.deployment is None:
        return plan
    return dataclasses.replace(plan, deployment=dataclasses.replace(plan.deployment, auto_rollback=True))


def _deployment(args: Args) -> Deployment:
    flake = Flake.parse(args["--flake"], folder=Path.cwd())
    build_host = args["--build-host"] or ""
    if build_host.startswith("-"):
        raise InvalidRequest(f"--build-host is {build_host!r}, expected what ssh is given for a host")
    return Deployment(
        flake=flake.url,
        attribute=flake.attribute,
        build_host=build_host,
        auto_rollback=bool(args["--auto-rollback"]),
    )


async def _understood(plan: Plan, args: Args, output: Output) -> tuple[Switch, list[Host]]:
    """Return the change and the hosts it is for, once it is known to be meant for each of them."""
    deployment = plan.deployment
    assert deployment is not None  # noqa: S101  (it is the plan of a deploy)
    process.which("nix")
    if deployment.attribute and len(plan.hosts) > 1:
        raise InvalidRequest(
            f"#{deployment.attribute} is the configuration of one host, and this is for {', '.join(plan.hosts)}",
            hint=f"one after the other, or --flake {deployment.flake} for all whose configurations are called as they",
        )
    if deployment.build_host and not here.have_rebuild():
        raise InvalidRequest(
            "--build-host is nixos-rebuild's, which is not installed here",
            hint="install nixos-rebuild, or leave it out to build here",
        )
    switch = Switch(deployment)
    here.require_flake(switch.flake)
    hosts = [host(settings_of(args), name) for name in plan.left]
    for each in hosts:
        teller(each, output)(f"evaluating {switch.flake.of(each.name)}: whether it is a pool")
        await here.require_pool(switch.flake, each.name)
    return switch, hosts


async def _rehearsed(switch: Switch, hosts: list[Host], output: Output) -> None:
    """Say for each host what would change there; build and copy what that takes."""
    rows = []
    for each in hosts:
        found = await there.standing(each.remote)
        await switch.prepare(each, teller(each, output))
        rows.append({"id": each.name, "runs": found.running, "would_run": await switch.wanted(each), "dry_run": True})
        if not output.as_json:
            output.text(f"{each.name}  {_would(rows[-1])}\n")
    if output.as_json:
        output.table(rows, [], none="")


def _would(row: dict[str, Any]) -> str:
    if row["runs"] == row["would_run"]:
        return f"runs {row['runs']}, and would be switched to it again"
    return f"would run {row['would_run']}; now it runs {row['runs']}"
