"""rbee-hive models …"""

import shlex
from pathlib import Path

from rbee.cli.confirm import confirm, dry_run
from rbee.cli.output import Column, Output
from rbee.cli.progress import Progress, download_facts
from rbee.cli.run import Args
from rbee.cli.units import bytes_text
from rbee.errors import ChecksumMismatch, RbeeError
from rbee.hive.reach import reached
from rbee.wire import codec
from rbee.wire.catalog import DownloadSpec, ImportSpec, ModelFile, Verification

_FILES = (
    Column("MODEL", "id"),
    Column("SIZE", "size_bytes", bytes_text, right=True),
    Column("ARCHITECTURE", "architecture"),
    Column("QUANTIZATION", "quantization"),
    Column("CONTEXT", "context_tokens", right=True),
    Column("REFERENCE", "reference"),
)
_ENTRIES = (
    Column("MODEL", "id"),
    Column("HERE", "present", lambda present: "yes" if present else "no"),
    Column("SIZE", "size_bytes", bytes_text, right=True),
    Column("ALIASES", "aliases", ", ".join),
    Column("REFERENCE", "reference"),
)


async def list_models(args: Args, output: Output) -> None:
    async with reached(args) as pool:
        output.table(await pool.list_models(), _FILES, none="no models; rbee-hive models catalog")


async def list_catalog(args: Args, output: Output) -> None:
    async with reached(args) as pool:
        output.table(await pool.list_catalog(), _ENTRIES, none="the catalog is empty")


async def get_model(args: Args, output: Output) -> None:
    async with reached(args) as pool:
        _show(await pool.get_model(args["<model>"]), output)


async def download_model(args: Args, output: Output) -> None:
    spec = codec.from_dict(DownloadSpec, {"model": args["<model>"]})
    if dry_run(args, output, f"download {spec.model}"):
        return
    model: ModelFile | None = None
    async with reached(args) as pool:
        with Progress(output) as progress:
            async for event in pool.download_model(spec):
                model = event.model
                if args["--events"]:
                    output.event(event)
                    continue
                if model is None:
                    share = event.bytes_done / event.bytes_total if event.bytes_total else None
                    facts = download_facts(event.bytes_done, event.bytes_total, event.rate_bytes_per_s, event.eta_s)
                    progress.show(f"{event.state} {spec.model}", share, facts)
    if model is None:
        raise RbeeError(f"the download of {spec.model} ended without a file")
    if not args["--events"]:
        _show(model, output)


async def import_model(args: Args, output: Output) -> None:
    path = _from_here(args["<path>"])
    spec = codec.from_dict(ImportSpec, {"path": path, "id": args["--id"]})
    if dry_run(args, output, f"import {path}"):
        return
    async with reached(args) as pool:
        _show(await pool.import_model(spec), output)


async def verify_model(args: Args, output: Output) -> None:
    """Read every byte again.

    Raises:
        ChecksumMismatch: they are not the ones that were registered.
    """
    async with reached(args) as pool:
        found = await pool.verify_model(args["<model>"])
    if output.as_json:
        output.facts(found, {})
    if not found.ok:
        raise ChecksumMismatch(
            f"{found.id} is damaged: {found.problem}",
            hint=_another_copy(found),
            details={"sha256": found.sha256, "expected_sha256": found.expected_sha256},
        )
    if not output.as_json:
        shown = {"model": found.id, "intact": "yes", "size": bytes_text(found.size_bytes), "sha256": found.sha256}
        output.facts(found, shown)


def _another_copy(found: Verification) -> str:
    forget = f"rbee-hive models delete {found.id} --yes"
    kind, _, path = found.reference.partition(":")
    if kind == "file":
        return f"{forget}; put a whole file there, and rbee-hive models import {shlex.quote(path)}"
    return f"{forget} && rbee-hive models download {shlex.quote(found.reference or found.id)}"


async def delete_model(args: Args, output: Output) -> None:
    async with reached(args) as pool:
        model = await pool.get_model(args["<model>"])
        if confirm(args, output, f"delete {model.id}, {bytes_text(model.size_bytes)}"):
            await pool.delete_model(model.id)
            output.done(f"{model.id} deleted", id=model.id)


def _show(model: ModelFile, output: Output) -> None:
    output.facts(
        model,
        {
            "model": model.id,
            "name": model.name,
            "size": bytes_text(model.size_bytes),
            "architecture": model.architecture,
            "quantization": model.quantization,
            "parameters": f"{model.parameters / 1e6:,.0f} M" if model.parameters else None,
            "context": f"{model.context_tokens} tokens",
            "cache": f"{bytes_text(model.kv_bytes_per_token)} a token",
            "chat template": "yes" if model.chat_template else "no",
            "reference": model.reference,
            "revision": model.revision,
            "sha256": model.sha256,
            "path": "\n".join(model.paths),
        },
    )


def _from_here(path: str) -> str:
    """Return the path as the pool has to see it, which stands in another directory."""
    return str(Path(path).absolute())
