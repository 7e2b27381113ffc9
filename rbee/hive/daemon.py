"""rbee-hive daemon …: pool-managerd's units."""

from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.cli.services import Service, in_user_manager
from rbee.hive.reach import settings_of

NAME = "rbee-pool"


def _service(args: Args) -> Service:
    return Service(NAME, user=in_user_manager(settings_of(args).pool.mode, NAME))


async def start(args: Args, output: Output) -> None:
    await _service(args).start(args, output)


async def stop(args: Args, output: Output) -> None:
    await _service(args).stop(args, output)


async def restart(args: Args, output: Output) -> None:
    await _service(args).restart(args, output)


async def status(args: Args, output: Output) -> None:
    await _service(args).status(args, output)


async def logs(args: Args, output: Output) -> None:
    await _service(args).logs(args, output)
