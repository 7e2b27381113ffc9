"""rbee-keeper pool models …: the catalog as the queen knows it, and the models of each host."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from rbee.cli.confirm import confirm, dry_run
from rbee.cli.models import (
    ENTRY_COLUMNS,
    FILE_COLUMNS,
    follow_download,
    model_line,
    require_intact,
    show_model,
    show_verification,
)
from rbee.cli.output import Column, Output
from rbee.cli.progress import Bars
from rbee.cli.run import Args
from rbee.errors import InvalidRequest
from rbee.keeper.fleet import Shown, on_each, on_pools, table
from rbee.keeper.hosts import Host, chosen, named
from rbee.keeper.reach import reached
from rbee.pool_core.ops import PoolOps
from rbee.wire import codec
from rbee.wire.catalog import DownloadSpec, ImportSpec, ModelFile, Verification
from rbee.wire.words import bytes_text

T = TypeVar("T")
_IN_POOLS = (
    Column("MODEL", "id"),
    Column("POOLS", "pools", lambda pools: ", ".join(pools) or "–"),
    Column("SIZE", "size_bytes", bytes_text, right=True),
    Column("ALIASES", "aliases", ", ".join),
    Column("REFERENCE", "reference"),
)
_MODEL: Shown[ModelFile] = Shown(line=model_line, whole=show_model)


async def list_models(args: Args, output: Output) -> int:
    return await table(args, output, lambda pool: pool.list_models(), FILE_COLUMNS, none="no models")


async def list_catalog(args: Args, output: Output) -> int | None:
    """Show the catalog: with ``--host`` as those hosts have it, else the queen's, and who has what."""
    if args["--host"]:
        return await table(args, output, lambda pool: pool.list_catalog(), ENTRY_COLUMNS, none="the catalogs are empty")
    async with reached(args) as queen:
        output.table(await queen.list_models(), _IN_POOLS, none="the catalog is empty")
    return None


async def get_model(args: Args, output: Output) -> int:
    return await on_pools(args, output, lambda pool: pool.get_model(args["<model>"]), _MODEL)


async def download_model(args: Args, output: Output) -> int:
    """Download on all hosts side by side, each with a bar of its own."""
    spec = codec.from_dict(DownloadSpec, {"model": args["<model>"]})
    hosts = chosen(args)
    if dry_run(args, output, f"download {spec.model} on {named(args)}"):
        return 0
    with Bars(output, [host.name for host in hosts]) as bars:

        async def work(host: Host) -> ModelFile:
            async with host.reached(args) as pool:
                try:
                    return await follow_download(pool.download_model(spec), spec.model, bars.of(host.name))
                finally:
                    bars.end(host.name)

        return await on_each(hosts, output, work, _MODEL)


async def import_model(args: Args, output: Output) -> int:
    spec = codec.from_dict(ImportSpec, {"path": args["<path>"], "id": args["--id"]})
    if not spec.path.removeprefix("file:").startswith("/"):
        raise InvalidRequest(f"path is {spec.path[:200]!r}, expected an absolute one on {named(args)}")
    if dry_run(args, output, f"import {spec.path} on {named(args)}"):
        return 0
    return await on_pools(args, output, lambda pool: pool.import_model(spec), _MODEL)


async def verify_model(args: Args, output: Output) -> int:
    async def verified(pool: PoolOps) -> Verification:
        return require_intact(await pool.verify_model(args["<model>"]))

    return await on_pools(args, output, verified, Shown(line=lambda _: "intact", whole=show_verification))


async def delete_model(args: Args, output: Output) -> int | None:
    """Ask once, for all hosts together."""
    model = args["<model>"]
    if not confirm(args, output, f"delete {model} on {named(args)}"):
        return None
    return await _done(args, output, lambda pool: pool.delete_model(model), f"{model} deleted")


async def cache_model(args: Args, output: Output) -> int | None:
    model = args["<model>"]
    if dry_run(args, output, f"hold {model} in memory on {named(args)}"):
        return None
    return await on_pools(args, output, lambda pool: pool.cache_model(model), _MODEL)


async def uncache_model(args: Args, output: Output) -> int | None:
    model = args["<model>"]
    if dry_run(args, output, f"let {model} go from memory on {named(args)}"):
        return None
    sentence = f"{model} is not held in memory any more"
    return await _done(args, output, lambda pool: pool.uncache_model(model), sentence)


async def _done(args: Args, output: Output, act: Callable[[PoolOps], Awaitable[None]], sentence: str) -> int:
    async def work(pool: PoolOps) -> str:
        await act(pool)
        return sentence

    return await on_pools(args, output, work, Shown(line=str))
