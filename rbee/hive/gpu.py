"""rbee-hive gpu …"""

from rbee.cli.output import Column, Output
from rbee.cli.run import Args
from rbee.cli.units import bytes_text
from rbee.hive.reach import reached

_GPUS = (
    Column("GPU", "index", right=True),
    Column("NAME", "name"),
    Column("USED", "memory_used_bytes", bytes_text, right=True),
    Column("FREE", "memory_free_bytes", bytes_text, right=True),
    Column("TOTAL", "memory_total_bytes", bytes_text, right=True),
    Column("LOAD", "utilisation_percent", "{} %".format, right=True),
    Column("TEMP", "temperature_c", "{} °C".format, right=True),
    Column("POWER", "power_w", "{:.0f} W".format, right=True),
    Column("PCI", "pci"),
)


async def list_gpus(args: Args, output: Output) -> None:
    async with reached(args) as pool:
        inventory = await pool.list_gpus()
    if output.as_json:
        output.facts(inventory, {})
    else:
        output.table(inventory.gpus, _GPUS, none=f"no GPUs: {inventory.reason}")
