"""rbee-keeper pool start, stop, restart, status, logs and exec: systemctl, journalctl or any command, over ssh."""

import contextlib
import shlex
from collections.abc import Awaitable, Callable

from rbee.cli.confirm import dry_run
from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.cli.services import Service, ServiceState, entry, shown
from rbee.cli.streams import ended_by_reader
from rbee.cli.units import parse_count
from rbee.keeper.fleet import Outcome, Shown, exit_code, finished, gathered, on_each
from rbee.keeper.hosts import Host, chosen, named

Act = Callable[[Service], Awaitable[None]]


async def start(args: Args, output: Output) -> int:
    return await _act(args, output, "start", Service.start_units, "started")


async def stop(args: Args, output: Output) -> int:
    """Workers go on; they are systemd's."""
    return await _act(args, output, "stop", Service.stop_units, "stopped")


async def restart(args: Args, output: Output) -> int:
    return await _act(args, output, "restart", Service.restart_units, "restarted")


async def unit_status(args: Args, output: Output) -> int:
    """Say what systemd says of rbee-pool there."""
    return await on_each(chosen(args), output, _state, Shown(line=_line, whole=_whole))


async def logs(args: Args, output: Output) -> int:
    """Show the journals of rbee-pool, line by line as they come, each with its host where there are several."""
    parse_count(args["--lines"], "--lines", default=100)  # said once, and not for each host
    hosts = chosen(args)
    width = max(len(host.name) for host in hosts)

    async def show(host: Host) -> list[object]:
        kept: list[object] = []
        lines = host.service().journal(args, as_json=output.as_json)
        async with contextlib.aclosing(lines):  # type: ignore[type-var]  # it is a generator
            async for line in lines:
                if not output.as_json:
                    output.text(f"{line}\n" if len(hosts) == 1 else f"{host.name.ljust(width)}  {line}\n")
                elif args["--follow"]:
                    output.event({"host": host.name, **entry(line)})
                else:
                    kept.append(entry(line))
        return kept

    def tell(outcome: Outcome[list[object]]) -> None:
        if outcome.error is not None and not output.as_json:
            output.failure(f"rbee-keeper {outcome.host.name}", outcome.error)

    with ended_by_reader():
        outcomes = await gathered(hosts, show, tell)
    return exit_code(outcomes) if args["--follow"] else finished(outcomes, output)


async def run_command(args: Args, output: Output) -> int:
    """Run a command on each host. Of one host the exit code is passed on; of several, the first that is not 0."""
    hosts, argv = chosen(args), list(args["<command>"])
    if dry_run(args, output, f"run {shlex.join(argv)} on {named(args)}"):
        return 0
    width = max(len(host.name) for host in hosts)

    async def run(host: Host) -> dict[str, object]:
        said: dict[bool, list[str]] = {False: [], True: []}
        label = "" if len(hosts) == 1 else f"{host.name.ljust(width)}  "

        def tell(line: str, to_stderr: bool) -> None:
            if output.as_json:
                said[to_stderr].append(line)
            elif to_stderr:
                output.say(f"{label}{line}")
            else:
                output.text(f"{label}{line}\n")

        code = await host.remote.passed_through(argv, tell)
        if code and label and not output.as_json:
            output.say(f"{label}exit {code}")  # or nobody knows whose code ours is
        return {"exit_code": code, "stdout": said[False], "stderr": said[True]}

    def failed(outcome: Outcome[dict[str, object]]) -> None:
        if outcome.error is not None and not output.as_json:
            output.failure(f"rbee-keeper {outcome.host.name}", outcome.error)

    outcomes = await gathered(hosts, run, failed)
    finished(outcomes, output)
    codes = [o.error.exit_code if o.error else int(str((o.result or {})["exit_code"])) for o in outcomes]
    return next((code for code in codes if code), 0)


async def _act(args: Args, output: Output, verb: str, act: Act, done: str) -> int:
    hosts = chosen(args)
    if dry_run(args, output, f"{verb} rbee-pool on {named(args)}"):
        return 0

    async def work(host: Host) -> str:
        await act(host.service())
        return done

    return await on_each(hosts, output, work, Shown(line=lambda word: f"rbee-pool {word}"))


async def _state(host: Host) -> ServiceState:
    return await host.service().state()


def _line(state: ServiceState) -> str:
    asleep = state.state == "inactive" and state.socket == "active"
    facts = [f"{state.state} ({state.sub_state})", f"since {state.since}" if state.since and not asleep else ""]
    facts.append("its socket wakes it" if asleep else "" if state.socket == "active" else f"socket {state.socket}")
    return ", ".join(fact for fact in (*facts, state.status) if fact)


def _whole(state: ServiceState, output: Output) -> None:
    output.facts(state, shown(state))
