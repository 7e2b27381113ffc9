"""GGUF files as they lie on disk: what their heads say, and whether they are still what they were."""

import hashlib
import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rbee.adapters.files import permitted
from rbee.errors import InvalidRequest, NotFound
from rbee.pool_core.gguf import Header, check_split, read_header
from rbee.pool_core.kinds import kind_of
from rbee.wire.catalog import ModelFile
from rbee.wire.fields import plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One file as it was when its bytes were last read. ``sha256`` is empty when they never were."""

    path: str
    size_bytes: int
    modified_ns: int
    sha256: str = plain("")

    def matches(self, found: os.stat_result) -> bool:
        return (found.st_size, found.st_mtime_ns) == (self.size_bytes, self.modified_ns)


def mark(path: Path, sha256: str = "") -> Mark:
    found = path.stat()
    return Mark(path=str(path), size_bytes=found.st_size, modified_ns=found.st_mtime_ns, sha256=sha256)


def combined(sums: Sequence[str]) -> str:
    """Return the sum that stands for a model: its file's, or that of its parts' sums."""
    if not all(sums):
        return ""
    return sums[0] if len(sums) == 1 else hashlib.sha256("\n".join(sums).encode()).hexdigest()


def inspect(path: Path) -> Header:
    """Return the head of ``path``.

    Raises:
        InvalidRequest: no regular file, no GGUF, or truncated.
        NotFound: it is not there.
        NotPermitted: it may not be read.
    """
    try:
        with permitted(path):
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):
                raise InvalidRequest("it is no regular file", details={"path": str(path)})
            with path.open("rb") as stream:
                return read_header(stream, found.st_size)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{path} is not there", details={"path": str(path)}) from None


def inspect_all(paths: Sequence[Path]) -> tuple[Header, ...]:
    """Return the heads of a model's parts, in order; raises as ``inspect`` does, naming the file."""
    headers = []
    for path in paths:
        try:
            headers.append(inspect(path))
        except InvalidRequest as error:
            raise InvalidRequest(
                f"{path}: {error.message}", hint=error.hint, details={**error.details, "path": str(path)}
            ) from None
    check_split(headers)
    return tuple(headers)


def describe(
    model: str, reference: str, marks: Sequence[Mark], headers: Sequence[Header], *, revision: str = ""
) -> ModelFile:
    """Return what is known of a model from its files; verified now when all their sums are known."""
    head, sums = headers[0], [found.sha256 for found in marks]
    return ModelFile(
        id=model,
        reference=reference,
        paths=tuple(found.path for found in marks),
        size_bytes=sum(found.size_bytes for found in marks),
        sha256=combined(sums),
        kind=kind_of(head),
        architecture=head.architecture,
        name=head.name,
        quantization=head.quantization,
        parameters=sum(header.parameters for header in headers),
        context_tokens=head.context_tokens,
        layers=head.layers,
        kv_bytes_per_token=head.kv_bytes_per_token,
        vocabulary=head.vocabulary,
        longest_token_bytes=head.longest_token_bytes,
        heads=head.heads,
        key_length=head.key_length,
        value_length=head.value_length,
        embedding_length=head.embedding_length,
        feed_forward_length=head.feed_forward_length,
        embedding_bytes=_embedding_bytes(headers),
        output_bytes=_output_bytes(headers),
        chat_template=head.chat_template,
        revision=revision,
        verified_ms=now_ms() if all(sums) else None,
    )


def _embedding_bytes(headers: Sequence[Header]) -> int:
    """Return what is not copied to a GPU: the table of embeddings, unless it is the output layer as well."""
    return sum(header.embedding_bytes for header in headers) if any(header.output_bytes for header in headers) else 0


def _output_bytes(headers: Sequence[Header]) -> int:
    """Return the last layer's weights: its own, or the table of embeddings where that serves as both."""
    own = sum(header.output_bytes for header in headers)
    return own or sum(header.embedding_bytes for header in headers)


def now_ms() -> int:
    return int(time.time() * 1000)
