"""What tests of downloads share."""

import hashlib
import os
from pathlib import Path

from rbee.adapters.model_store import FileModelStore, open_store
from rbee.pool_core.catalog import Catalog, Entry, HubReference
from rbee.wire.catalog import DownloadEvent, ModelFile
from tests.rig.waiting import PATIENCE

REPO = "acme/tiny-gguf"
CATALOG = Catalog([Entry(id="tiny", source=HubReference(REPO, file="tiny.gguf"), aliases=("tiniest",))])


def store_at(folder: Path, url: str, *, catalog: Catalog = CATALOG, stall_s: float = 5.0 * PATIENCE) -> FileModelStore:
    return open_store(folder / "models", [], catalog, endpoint=url, stall_s=stall_s)


async def downloaded(store: FileModelStore, reference: str = "tiny") -> ModelFile:
    """Download to the end and return the model."""
    events = await all_events(store, reference)
    assert events[-1].state == "done"
    assert events[-1].model is not None
    return events[-1].model


async def all_events(store: FileModelStore, reference: str = "tiny") -> list[DownloadEvent]:
    return [event async for event in store.download(reference)]


def sha256(path: Path | str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def left_in(folder: Path) -> set[str]:
    """Return every file of a store's folder, as a relative path."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def environ(**values: str) -> dict[str, str]:
    """Return an environment for another process of ours."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), **values}
