"""rbee-keeper pool worker …: workers of every pool, through the queen."""

from rbee.cli.confirm import confirm, dry_run
from rbee.cli.output import Column, Output
from rbee.cli.progress import Progress
from rbee.cli.run import Args
from rbee.cli.workers import WORKER_COLUMNS, follow_spawn, show_worker, spec_of
from rbee.keeper.reach import reached

_COLUMNS = (Column("POOL", "pool"), *WORKER_COLUMNS)


async def list_workers(args: Args, output: Output) -> None:
    async with reached(args) as queen:
        output.table(await queen.list_workers(), _COLUMNS, none="no workers")


async def spawn_worker(args: Args, output: Output) -> None:
    spec = spec_of(args)
    if dry_run(args, output, f"spawn a {spec.backend} worker of {spec.model}"):
        return
    async with reached(args) as queen:
        with Progress(output) as progress:
            worker = await follow_spawn(queen.spawn_worker(spec, args["--pool"]), spec.model, progress)
        output.facts(worker, show_worker(worker))


async def stop_worker(args: Args, output: Output) -> None:
    worker = args["<worker>"]
    async with reached(args) as queen:
        if confirm(args, output, f"stop {worker}"):
            await queen.stop_worker(worker)
            output.done(f"{worker} stopped", id=worker)
