"""rbee-hive status, drain and undrain."""

from rbee.cli.confirm import dry_run
from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.cli.units import bytes_text
from rbee.cli.workers import WORKER_COLUMNS
from rbee.hive.reach import reached


async def get_state(args: Args, output: Output) -> None:
    async with reached(args) as pool:
        state = await pool.get_state()
    host = state.host
    gpus = ", ".join(gpu.name for gpu in state.gpus.gpus) or f"none: {state.gpus.reason}"
    output.facts(
        state,
        {
            "pool": state.id,
            "state": "draining" if state.draining else "ready",
            "address": state.url,
            "version": state.version,
            "cpus": host.cpus,
            "memory": f"{bytes_text(host.memory_available_bytes)} available of {bytes_text(host.memory_total_bytes)}",
            "disk": f"{bytes_text(host.disk_free_bytes)} free for models",
            "gpus": gpus,
            "backends": ", ".join(state.backends),
            "models": ", ".join(model.id for model in state.models) or "none",
        },
    )
    if not output.as_json:
        output.text("\n")
        output.table(state.workers, WORKER_COLUMNS, none="no workers")


async def drain_pool(args: Args, output: Output) -> None:
    if not dry_run(args, output, "drain this pool"):
        async with reached(args) as pool:
            await pool.drain_pool()
        output.done("this pool takes no new work; rbee-hive undrain ends that")


async def undrain_pool(args: Args, output: Output) -> None:
    if not dry_run(args, output, "let this pool take work again"):
        async with reached(args) as pool:
            await pool.undrain_pool()
        output.done("this pool takes work again")
