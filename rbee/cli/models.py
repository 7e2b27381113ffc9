"""What both command lines say of models."""

import shlex
from collections.abc import AsyncIterator

from rbee.cli.output import Column, Output
from rbee.cli.progress import Bar, download_facts
from rbee.errors import ChecksumMismatch, RbeeError
from rbee.pool_core.kinds import keeps_no_cache
from rbee.wire.catalog import DownloadEvent, ModelFile, ModelKind, Verification
from rbee.wire.words import bytes_text

FILE_COLUMNS = (
    Column("MODEL", "id"),
    Column("KIND", "kind"),
    Column("SIZE", "size_bytes", bytes_text, right=True),
    Column("ARCHITECTURE", "architecture"),
    Column("QUANTIZATION", "quantization"),
    Column("CONTEXT", "context_tokens", right=True),
    Column("IN MEMORY", "cached", lambda cached: "held" if cached else "–"),
    Column("REFERENCE", "reference"),
)
ENTRY_COLUMNS = (
    Column("MODEL", "id"),
    Column("HERE", "present", lambda present: "yes" if present else "no"),
    Column("KIND", "kind"),
    Column("SIZE", "size_bytes", bytes_text, right=True),
    Column("ALIASES", "aliases", ", ".join),
    Column("REFERENCE", "reference"),
)


async def follow_download(events: AsyncIterator[DownloadEvent], model: str, bar: Bar) -> ModelFile:
    """Show how a model arrives, and return it."""
    file: ModelFile | None = None
    async for event in events:
        file = event.model
        if file is None:
            share = event.bytes_done / event.bytes_total if event.bytes_total else None
            facts = download_facts(event.bytes_done, event.bytes_total, event.rate_bytes_per_s, event.eta_s)
            bar(f"{event.state} {model}", share, facts)
    if file is None:
        raise RbeeError(f"the download of {model} ended without a file")
    return file


def show_model(model: ModelFile, output: Output) -> None:
    output.facts(
        model,
        {
            "model": model.id,
            "name": model.name,
            "kind": _KINDS[model.kind],
            "size": bytes_text(model.size_bytes),
            "architecture": model.architecture,
            "quantization": model.quantization,
            "parameters": f"{model.parameters / 1e6:,.0f} M" if model.parameters else None,
            "context": f"{model.context_tokens} tokens" if model.context_tokens else None,
            "cache": _cache(model),
            "chat template": "yes" if model.chat_template else "no",
            "in memory": "held" if model.cached else None,
            "reference": model.reference,
            "revision": model.revision,
            "sha256": model.sha256,
            "path": "\n".join(model.paths),
        },
    )


_KINDS = {
    ModelKind.GENERATE: "generates text",
    ModelKind.EMBED: "embeds texts",
    ModelKind.RERANK: "ranks documents",
    ModelKind.ADAPTER: "adapter (LoRA): spawn it over its base, --model <base>+<adapter>",
}


def _cache(model: ModelFile) -> str | None:
    if model.kind is ModelKind.ADAPTER:
        return None
    return "none" if keeps_no_cache(model) else f"{bytes_text(model.kv_bytes_per_token)} a token"


def model_line(model: ModelFile) -> str:
    """Return a model in one line, for where several hosts are asked."""
    held = "held in memory" if model.cached else ""
    kind = "" if model.kind is ModelKind.GENERATE else model.kind.value
    facts = (kind, bytes_text(model.size_bytes), model.architecture, model.quantization, held, model.paths[0])
    return f"{model.id}  " + ", ".join(fact for fact in facts if fact)


def show_verification(found: Verification, output: Output) -> None:
    """Show that a model is whole."""
    shown = {"model": found.id, "intact": "yes", "size": bytes_text(found.size_bytes), "sha256": found.sha256}
    output.facts(found, shown)


def require_intact(found: Verification) -> Verification:
    """Return ``found``.

    Raises:
        ChecksumMismatch: its bytes are not the ones that were registered.
    """
    if not found.ok:
        raise ChecksumMismatch(
            f"{found.id} is damaged: {found.problem}",
            hint=_another_copy(found),
            details={"sha256": found.sha256, "expected_sha256": found.expected_sha256},
        )
    return found


def _another_copy(found: Verification) -> str:
    if found.details.get("declared"):
        return f"put a whole file there, or correct [models.{found.id}] in rbee.toml"
    forget = f"rbee-hive models delete {found.id} --yes"
    kind, _, path = found.reference.partition(":")
    if kind == "file":
        return f"{forget}; put a whole file there, and rbee-hive models import {shlex.quote(path)}"
    return f"{forget} && rbee-hive models download {shlex.quote(found.reference or found.id)}"
