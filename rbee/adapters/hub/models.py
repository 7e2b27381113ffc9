"""A model reference to the hub made into files in the store's folder. Imported late: it brings huggingface_hub."""

from dataclasses import dataclass, replace
from pathlib import Path

from rbee.adapters.hub.client import Hub, HubModel
from rbee.adapters.hub.fetch import Fetch, Part, Tell
from rbee.adapters.model_files import Mark, mark
from rbee.adapters.threads import in_thread
from rbee.errors import ChecksumMismatch
from rbee.pool_core.catalog import Catalog, Entry, HubReference, id_for
from rbee.pool_core.ports import RemoteFile

__all__ = ("Fetched", "Hub", "fetch_model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A model that came from the hub. ``asked`` are all the references it answers to."""

    id: str
    marks: tuple[Mark, ...]
    commit: str
    asked: tuple[str, ...]


async def fetch_model(
    hub: Hub, source: HubReference, entry: Entry | None, catalog: Catalog, folder: Path, tell: Tell
) -> Fetched:
    """Resolve ``source`` and have its files whole in ``folder/<id>``; raises as ``Hub`` and ``Fetch`` do."""
    found = await hub.resolve(source)
    full = replace(source, file=found.files[0].path)
    entry = entry or catalog.of_source(full)
    model = entry.id if entry else id_for(full)
    parts = [Part(_expecting(file, entry), folder / model / Path(file.path).name) for file in found.files]
    sums = await Fetch(hub, parts, tell).run()
    marks = [await in_thread(mark, part.target, digest) for part, digest in zip(parts, sums, strict=True)]
    return Fetched(id=model, marks=tuple(marks), commit=found.commit, asked=_asked(source, full, found, entry))


def _asked(source: HubReference, full: HubReference, found: HubModel, entry: Entry | None) -> tuple[str, ...]:
    names = {str(source), str(full), str(found.pinned)}
    return tuple(sorted(names | {entry.reference} if entry else names))


def _expecting(file: RemoteFile, entry: Entry | None) -> RemoteFile:
    """Return ``file`` with the sum that the configuration wants of it.

    Raises:
        ChecksumMismatch: the hub itself says that it has another.
    """
    wanted = entry.sha256 if entry and file.path == getattr(entry.source, "file", "") else ""
    if wanted and file.sha256 and wanted != file.sha256:
        raise ChecksumMismatch(
            f"the hub has {file.path} with sha256 {file.sha256}, the configuration expects {wanted}",
            hint="correct sha256 in [models.*], or name the revision that has it",
            details={"sha256": file.sha256, "expected_sha256": wanted},
        )
    return replace(file, sha256=wanted or file.sha256)
