"""rbee-keeper pool sync."""

from rbee.cli.output import Output
from rbee.cli.progress import Bars
from rbee.cli.run import Args
from rbee.cli.syncing import exit_code, follow_sync, sentence, show_outcome, spec_of, told
from rbee.keeper.fleet import Outcome, finished, gathered
from rbee.keeper.hosts import Host, chosen, from_here
from rbee.pool_core.syncing import failures
from rbee.wire.sync import SyncOutcome


async def sync(args: Args, output: Output) -> int:
    """Sync the hosts side by side; the exit code is that of the first step, of the first host, that failed."""
    spec, hosts = spec_of(args), chosen(args)
    width = max(len(host.name) for host in hosts)
    with Bars(output, [host.name for host in hosts]) as bars:

        async def work(host: Host) -> SyncOutcome:
            async with host.reached(args) as pool:
                try:
                    return await follow_sync(pool.sync(spec), bars.of(host.name))
                finally:
                    bars.end(host.name)

        def tell(outcome: Outcome[SyncOutcome]) -> None:
            if output.as_json:
                return
            with output.above():
                _tell(outcome, output, width, alone=len(hosts) == 1)

        outcomes = await gathered(hosts, work, tell)
    codes = [exit_code(outcome.result) for outcome in outcomes if outcome.result is not None]
    return finished(outcomes, output) or next(filter(None, codes), 0)


def _tell(outcome: Outcome[SyncOutcome], output: Output, width: int, *, alone: bool) -> None:
    program = f"rbee-keeper {outcome.host.name}"
    if outcome.result is None:
        if outcome.error is not None:
            output.failure(program, outcome.error)
        return
    if alone:
        show_outcome(outcome.result, output)
    else:
        output.text(f"{outcome.host.name.ljust(width)}  {sentence(outcome.result)}\n")
    for step, error in failures(outcome.result):
        error.hint = from_here(error.hint, outcome.host.name)
        output.failure(program, told(step, error))
