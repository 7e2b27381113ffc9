"""rbee-hive worker …"""

from rbee.adapters import process
from rbee.cli.confirm import confirm, dry_run
from rbee.cli.output import Output
from rbee.cli.progress import Progress
from rbee.cli.run import Args
from rbee.cli.services import in_user_manager, show_journal
from rbee.cli.units import parse_count
from rbee.cli.workers import WORKER_COLUMNS, follow_spawn, show_worker, spec_of
from rbee.hive.daemon import NAME
from rbee.hive.reach import reached, settings_of
from rbee.pool_core import names
from rbee.wire import codec


async def spawn_worker(args: Args, output: Output) -> None:
    spec = spec_of(args)
    if dry_run(args, output, f"spawn a {spec.backend} worker of {spec.model}"):
        return
    async with reached(args) as pool:
        if args["--events"]:
            async for event in pool.spawn_worker(spec):
                output.event(event)
            return
        with Progress(output) as progress:
            worker = await follow_spawn(pool.spawn_worker(spec), spec.model, progress.show)
        output.facts(worker, show_worker(worker))


async def list_workers(args: Args, output: Output) -> None:
    async with reached(args) as pool:
        output.table(await pool.list_workers(), WORKER_COLUMNS, none="no workers")


async def get_worker(args: Args, output: Output) -> None:
    async with reached(args) as pool:
        worker = await pool.get_worker(args["<worker>"])
        output.facts(worker, show_worker(worker))


async def stop_worker(args: Args, output: Output) -> None:
    """A stop ends what the worker is doing after its grace, so it is asked about."""
    worker = args["<worker>"]
    async with reached(args) as pool:
        await pool.get_worker(worker)
        if confirm(args, output, f"stop {worker}"):
            await pool.stop_worker(worker)
            output.done(f"{worker} stopped", id=worker)


async def drain_worker(args: Args, output: Output) -> None:
    worker = args["<worker>"]
    async with reached(args) as pool:
        if not dry_run(args, output, f"drain {worker}"):
            await pool.drain_worker(worker)
            output.done(f"{worker} drained", id=worker)


async def evict_worker(args: Args, output: Output) -> None:
    worker = args["<worker>"]
    async with reached(args) as pool:
        if not dry_run(args, output, f"evict {worker}"):
            await pool.evict_worker(worker)
            output.done(f"{worker} is asleep; the next request wakes it", id=worker)


async def worker_logs(args: Args, output: Output) -> None:
    """With --follow the journal of this host is read, since a log has no end to answer with."""
    worker, lines = args["<worker>"], parse_count(args["--lines"], "--lines", default=100)
    async with reached(args) as pool:
        found = await pool.worker_logs(worker, lines)
    if args["--follow"]:
        await _follow(worker, lines, user=in_user_manager(settings_of(args).pool.mode, NAME), output=output)
    elif output.as_json:
        output.table([{"id": n, **codec.plain(line)} for n, line in enumerate(found, 1)], [], none="")
    else:
        for line in found:
            output.text(f"{line.message}\n")


async def _follow(worker: str, lines: int, *, user: bool, output: Output) -> None:
    scope = ["--user"] if user else []
    form = "--output=json" if output.as_json else "--output=short-iso"
    of_worker = ["--unit", names.service(names.check(worker)), "--lines", str(lines)]
    argv = ["journalctl", "--no-pager", "--quiet", *scope, *of_worker, form, "--follow"]
    await show_journal(process.lines(argv), output, follow=True)
