"""rbee-hive models …"""

from pathlib import Path

from rbee.cli.confirm import confirm, dry_run
from rbee.cli.models import (
    ENTRY_COLUMNS,
    FILE_COLUMNS,
    follow_download,
    require_intact,
    show_model,
    show_verification,
)
from rbee.cli.output import Output
from rbee.cli.progress import Progress
from rbee.cli.run import Args
from rbee.errors import ModelNotFound
from rbee.hive.reach import reached
from rbee.wire import codec
from rbee.wire.catalog import DownloadSpec, ImportSpec
from rbee.wire.words import bytes_text


async def list_models(args: Args, output: Output) -> None:
    async with reached(args) as pool:
        output.table(await pool.list_models(), FILE_COLUMNS, none="no models; rbee-hive models catalog")


async def list_catalog(args: Args, output: Output) -> None:
    async with reached(args) as pool:
        output.table(await pool.list_catalog(), ENTRY_COLUMNS, none="the catalog is empty")


async def get_model(args: Args, output: Output) -> None:
    async with reached(args) as pool:
        show_model(await pool.get_model(args["<model>"]), output)


async def download_model(args: Args, output: Output) -> None:
    spec = codec.from_dict(DownloadSpec, {"model": args["<model>"]})
    if dry_run(args, output, f"download {spec.model}"):
        return
    async with reached(args) as pool:
        if args["--events"]:
            async for event in pool.download_model(spec):
                output.event(event)
            return
        with Progress(output) as progress:
            model = await follow_download(pool.download_model(spec), spec.model, progress.show)
        show_model(model, output)


async def import_model(args: Args, output: Output) -> None:
    path = _from_here(args["<path>"])
    spec = codec.from_dict(ImportSpec, {"path": path, "id": args["--id"]})
    if dry_run(args, output, f"import {path}"):
        return
    async with reached(args) as pool:
        show_model(await pool.import_model(spec), output)


async def verify_model(args: Args, output: Output) -> None:
    """Read every byte again. As JSON the verdict is a document also when it is bad; the exit code says so."""
    async with reached(args) as pool:
        found = await pool.verify_model(args["<model>"])
    if output.as_json:
        output.facts(found, {})
    require_intact(found)
    if not output.as_json:
        show_verification(found, output)


async def delete_model(args: Args, output: Output) -> None:
    """One that is damaged is on no list; with --yes what is left of it goes as well."""
    async with reached(args) as pool:
        try:
            model = await pool.get_model(args["<model>"])
            name, size = model.id, f", {bytes_text(model.size_bytes)}"
        except ModelNotFound:
            if not args["--yes"]:
                raise
            name, size = args["<model>"], ""
        if confirm(args, output, f"delete {name}{size}"):
            await pool.delete_model(name)
            output.done(f"{name} deleted", id=name)


async def cache_model(args: Args, output: Output) -> None:
    model = args["<model>"]
    if not dry_run(args, output, f"hold {model} in memory"):
        async with reached(args) as pool:
            show_model(await pool.cache_model(model), output)


async def uncache_model(args: Args, output: Output) -> None:
    model = args["<model>"]
    if not dry_run(args, output, f"let {model} go from memory"):
        async with reached(args) as pool:
            await pool.uncache_model(model)
        output.done(f"{model} is not held in memory any more", id=model)


def _from_here(path: str) -> str:
    """Return the path as the pool has to see it, which stands in another directory."""
    return str(Path(path).absolute())
