"""rbee-hive gpu …"""

from rbee.cli.gpus import show_gpus
from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.hive.reach import reached


async def list_gpus(args: Args, output: Output) -> None:
    async with reached(args) as pool:
        show_gpus(await pool.list_gpus(), output)
