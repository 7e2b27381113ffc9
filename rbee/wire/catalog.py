"""Models: what a person types (reference), what can be had (entry), what is on disk (file)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rbee.wire.fields import name, number, plain, text


class ModelKind(StrEnum):
    """What a model is for, and for nothing else; an adapter is no model, but changes one (LoRA)."""

    GENERATE = "generate"
    EMBED = "embed"
    RERANK = "rerank"
    ADAPTER = "adapter"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model that lies on this host, checked and usable. A split model is one ModelFile with several paths."""

    id: str = name()
    reference: str
    paths: tuple[str, ...]
    size_bytes: int
    sha256: str = plain("", doc="of the one file; of a split model: of the parts' sums; empty until hashed")
    kind: ModelKind = ModelKind.GENERATE
    architecture: str = ""
    name: str = ""
    quantization: str = ""
    parameters: int = 0
    context_tokens: int = 0
    layers: int = 0
    kv_bytes_per_token: int = plain(0, unit="bytes", doc="key and value cache of one token, f16")
    vocabulary: int = plain(0, doc="tokens the model knows")
    longest_token_bytes: int = plain(0, unit="bytes", doc="so a text has at least its bytes / this many tokens")
    heads: int = 0
    key_length: int = plain(0, doc="of one head's key; 0: not told")
    value_length: int = plain(0, doc="of one head's value")
    embedding_length: int = 0
    feed_forward_length: int = 0
    embedding_bytes: int = plain(
        0, unit="bytes", doc="of the weights, what stays on the host when the rest is on a GPU"
    )
    output_bytes: int = plain(0, unit="bytes", doc="of the weights, the last layer, which goes to a GPU first")
    chat_template: bool = False
    revision: str = ""
    verified_ms: int | None = None
    cached: bool = plain(False, doc="held in memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPart:
    """One file of a model, as another pool may copy it: GET /v2/models/{id}/parts, its bytes at …/parts/{n}."""

    name: str = text(
        longest=240,  # and room for .partial
        shortest=6,
        pattern=re.compile(r"[^/.\x00-\x1f\x7f][^/\x00-\x1f\x7f]*\.gguf"),
        like="the name of a file, *.gguf",
    )
    size_bytes: int = number(low=1, high=1 << 50)
    sha256: str = text(longest=64, pattern=re.compile(r"[0-9a-f]{64}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """A line of the catalog: a name and where it comes from."""

    id: str
    reference: str
    present: bool = False
    size_bytes: int | None = None
    aliases: tuple[str, ...] = ()
    pools: tuple[str, ...] = plain((), doc="set by the queen: who has the file")
    kind: ModelKind | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadSpec:
    model: str = text(longest=300, shortest=1, doc="alias or hf:org/repo[@rev][::file=path]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSpec:
    path: str = text(longest=4096, shortest=1, doc="a .gguf under a model root")
    id: str | None = name(default=None, doc="absent: from the file's name")


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadEvent:
    """POST /v2/models as a stream: ``progress`` events, then one ``done`` with the file, or ``error``."""

    state: str = plain(doc="resolving, downloading, verifying or done")
    bytes_done: int = 0
    bytes_total: int | None = None
    rate_bytes_per_s: float | None = None
    eta_s: float | None = None
    model: ModelFile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The answer to verify: every byte was read again."""

    id: str
    ok: bool
    size_bytes: int
    sha256: str
    expected_sha256: str = ""
    problem: str = ""
    reference: str = plain("", doc="where another copy comes from")
    details: Mapping[str, Any] = plain({})
