"""Models and workers as Ollama lists them."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from rbee.wire.catalog import ModelFile, ModelKind
from rbee.wire.workers import WorkerStatus

Json = dict[str, Any]

_HUB = re.compile(r"(?:https?://)?(?:hf\.co|huggingface\.co)/(?P<repository>[^/\s]+/[^/\s:]+)(?::(?P<tag>[^/\s:]+))?")
_UNKNOWN = "0" * 64
"""Of bytes that nobody has summed yet: Ollama's own command cuts a digest short without asking whether there is one."""


def name_of(called: str) -> str:
    """Return our name of what a client of Ollama's calls a model: no tag that only says which is the newest.

    A tag of the hub's is a file's name or how its weights are quantised; a catalog knows its files by both.
    """
    plain = called.removesuffix(":latest")
    hub = _HUB.fullmatch(plain)
    if hub is None:
        return plain
    repository, tag = f"hf:{hub['repository']}", hub["tag"]
    if tag is None:
        return repository
    return f"{repository}::file={tag}" if tag.endswith(".gguf") else f"{repository}:{tag.upper()}"


def details(file: ModelFile | None) -> Json:
    family = file.architecture if file else ""
    return {
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family] if family else [],
        "parameter_size": _size(file.parameters) if file else "",
        "quantization_level": file.quantization if file else "",
    }


def tag(model: str, file: ModelFile) -> Json:
    """Return a line of /api/tags."""
    return {
        "name": model,
        "model": model,
        "modified_at": _time(file.verified_ms or 0),
        "size": file.size_bytes,
        "digest": file.sha256 or _UNKNOWN,
        "details": details(file),
    }


def tags(models: Iterable[tuple[str, ModelFile]]) -> Json:
    return {"models": [tag(model, file) for model, file in models]}


def shown(model: str, file: ModelFile) -> Json:
    """Return the answer of /api/show, as far as we know: a template and a licence stay in the file."""
    kind = file.architecture or "unknown"
    facts = {
        "general.architecture": file.architecture,
        "general.basename": file.name,
        "general.parameter_count": file.parameters,
        f"{kind}.context_length": file.context_tokens,
        f"{kind}.block_count": file.layers,
        f"{kind}.embedding_length": file.embedding_length,
        f"{kind}.feed_forward_length": file.feed_forward_length,
        f"{kind}.attention.head_count": file.heads,
    }
    return {
        "modelfile": f"# {file.reference}\nFROM {model}\n",
        "parameters": "",
        "template": "",
        "details": details(file),
        "model_info": {name: value for name, value in facts.items() if value},
        "capabilities": _capabilities(file),
        "modified_at": _time(file.verified_ms or 0),
    }


def running(workers: Iterable[tuple[WorkerStatus, ModelFile | None, datetime]]) -> Json:
    """Return the answer of /api/ps: workers that are awake, the file of each, and when it will sleep."""
    return {"models": [_running(worker, file, until) for worker, file, until in workers]}


def _running(worker: WorkerStatus, file: ModelFile | None, until: datetime) -> Json:
    return {
        "name": worker.model,
        "model": worker.model,
        "size": worker.need_bytes or (file.size_bytes if file else 0),
        "digest": (file.sha256 if file else "") or _UNKNOWN,
        "details": details(file),
        "expires_at": until.isoformat(),
        "size_vram": worker.need_bytes if worker.backend.value != "cpu" else 0,
        "context_length": worker.ctx,
    }


def _capabilities(file: ModelFile) -> list[str]:
    match file.kind:
        case ModelKind.EMBED:
            return ["embedding"]
        case ModelKind.GENERATE:
            return ["completion", "tools"] if file.chat_template else ["completion"]
        case _:
            return []  # Ollama has no word for it


def _size(parameters: int) -> str:
    if parameters >= 1_000_000_000:
        return f"{parameters / 1e9:.1f}B"
    return f"{parameters / 1e6:.2f}M" if parameters else ""


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()
