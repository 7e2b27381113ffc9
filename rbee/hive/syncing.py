"""rbee-hive sync."""

from rbee.cli.output import Output
from rbee.cli.progress import Progress
from rbee.cli.run import Args
from rbee.cli.syncing import exit_code, follow_sync, show_outcome, spec_of, told
from rbee.hive.reach import reached
from rbee.pool_core.syncing import failures


async def sync(args: Args, output: Output) -> int:
    """Steps that failed are said, after what became of the others; the exit code is that of the first."""
    spec = spec_of(args)
    async with reached(args) as pool:
        if args["--events"]:
            code = 0
            async for event in pool.sync(spec):
                output.event(event)
                code = exit_code(event.outcome) if event.outcome is not None else 0
            return code
        with Progress(output) as progress:
            outcome = await follow_sync(pool.sync(spec), progress.show)
    show_outcome(outcome, output)
    for step, error in failures(outcome):
        output.failure("rbee-hive", told(step, error))
    return exit_code(outcome)
