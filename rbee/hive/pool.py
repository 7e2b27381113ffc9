"""rbee-hive status, drain and undrain."""

from rbee.cli.confirm import dry_run
from rbee.cli.output import Output
from rbee.cli.pools import moves_text, parse_deadline, show_state
from rbee.cli.run import Args
from rbee.hive.reach import reached


async def get_state(args: Args, output: Output) -> None:
    async with reached(args) as pool:
        show_state(await pool.get_state(), output)


async def drain_pool(args: Args, output: Output) -> None:
    if not dry_run(args, output, "drain this pool"):
        deadline_s = parse_deadline(args)
        async with reached(args) as pool:
            await pool.drain_pool(deadline_s)
        output.done(f"this pool takes no new work{moves_text(deadline_s)}; rbee-hive undrain ends that")


async def undrain_pool(args: Args, output: Output) -> None:
    if not dry_run(args, output, "let this pool take work again"):
        async with reached(args) as pool:
            await pool.undrain_pool()
        output.done("this pool takes work again")
