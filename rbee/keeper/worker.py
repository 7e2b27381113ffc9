"""rbee-keeper pool worker …: workers of every pool through the queen, or of hosts."""

from rbee.cli.confirm import confirm, dry_run
from rbee.cli.output import Column, Output
from rbee.cli.progress import Bars, Progress
from rbee.cli.run import Args
from rbee.cli.units import parse_count
from rbee.cli.workers import WORKER_COLUMNS, follow_spawn, show_worker, spec_of
from rbee.keeper.fleet import Shown, on_each, on_pools, table
from rbee.keeper.hosts import Host, chosen, named
from rbee.keeper.reach import reached
from rbee.pool_core.ops import PoolOps
from rbee.wire.workers import WorkerSpec, WorkerStatus

_COLUMNS = (Column("POOL", "pool"), *WORKER_COLUMNS)


async def list_workers(args: Args, output: Output) -> int | None:
    if args["--host"]:
        return await table(args, output, lambda pool: pool.list_workers(), WORKER_COLUMNS, none="no workers")
    async with reached(args) as queen:
        output.table(await queen.list_workers(), _COLUMNS, none="no workers")
    return None


async def get_worker(args: Args, output: Output) -> int:
    return await on_pools(args, output, lambda pool: pool.get_worker(args["<worker>"]), _WORKER)


async def spawn_worker(args: Args, output: Output) -> int | None:
    spec = spec_of(args)
    where = f" on {named(args)}" if args["--host"] else ""
    if dry_run(args, output, f"spawn a {spec.backend} worker of {spec.model}{where}"):
        return None
    if args["--host"]:
        return await _spawn_on(chosen(args), spec, args, output)
    async with reached(args) as queen:
        with Progress(output) as progress:
            worker = await follow_spawn(queen.spawn_worker(spec, args["--pool"]), spec.model, progress.show)
        output.facts(worker, show_worker(worker))
    return None


async def stop_worker(args: Args, output: Output) -> int | None:
    worker = args["<worker>"]
    if args["--host"]:
        if not confirm(args, output, f"stop {worker} on {named(args)}"):
            return None
        return await on_pools(args, output, lambda pool: _stopped(pool, worker), Shown(line=str))
    async with reached(args) as queen:
        if confirm(args, output, f"stop {worker}"):
            await queen.stop_worker(worker)
            output.done(f"{worker} stopped", id=worker)
    return None


async def drain_worker(args: Args, output: Output) -> int | None:
    worker = args["<worker>"]
    if dry_run(args, output, f"drain {worker} on {named(args)}"):
        return None
    return await on_pools(args, output, lambda pool: _drained(pool, worker), Shown(line=str))


async def evict_worker(args: Args, output: Output) -> int | None:
    worker = args["<worker>"]
    if dry_run(args, output, f"evict {worker} on {named(args)}"):
        return None
    return await on_pools(args, output, lambda pool: _evicted(pool, worker), Shown(line=str))


async def worker_logs(args: Args, output: Output) -> int:
    worker, lines = args["<worker>"], parse_count(args["--lines"], "--lines", default=100)
    return await table(
        args, output, lambda pool: pool.worker_logs(worker, lines), (Column("LINE", "message"),), none="no lines"
    )


async def _spawn_on(hosts: list[Host], spec: WorkerSpec, args: Args, output: Output) -> int:
    with Bars(output, [host.name for host in hosts]) as bars:

        async def work(host: Host) -> WorkerStatus:
            async with host.reached(args) as pool:
                try:
                    return await follow_spawn(pool.spawn_worker(spec), spec.model, bars.of(host.name))
                finally:
                    bars.end(host.name)

        return await on_each(hosts, output, work, _WORKER)


async def _stopped(pool: PoolOps, worker: str) -> str:
    await pool.stop_worker(worker)
    return f"{worker} stopped"


async def _evicted(pool: PoolOps, worker: str) -> str:
    await pool.evict_worker(worker)
    return f"{worker} is asleep; the next request wakes it"


async def _drained(pool: PoolOps, worker: str) -> str:
    await pool.drain_worker(worker)
    return f"{worker} drained"


def _line(worker: WorkerStatus) -> str:
    return f"{worker.id}  {worker.state}, {worker.model}, {worker.address}, {worker.status}".rstrip(", ")


def _whole(worker: WorkerStatus, output: Output) -> None:
    output.facts(worker, show_worker(worker))


_WORKER: Shown[WorkerStatus] = Shown(line=_line, whole=_whole)
