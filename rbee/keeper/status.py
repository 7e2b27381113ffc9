"""rbee-keeper pool status: what systemd on a host says of its pool, or what the queen does."""

from rbee.cli.output import Output
from rbee.cli.run import Args


async def get_pool(args: Args, output: Output) -> int | None:
    """With ``--host`` ask systemd there, else the queen; each brings only what it needs (HTTP is 0.2 s of imports)."""
    if args["--host"]:
        from rbee.keeper.units import unit_status  # noqa: PLC0415

        return await unit_status(args, output)
    from rbee.keeper.pool import show_known  # noqa: PLC0415

    await show_known(args, output)
    return None
