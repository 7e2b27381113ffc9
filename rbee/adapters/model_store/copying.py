"""A model copied from another pool of the fleet, with the hub's own care: resumed, hashed, checked before it counts."""

from pathlib import Path

from rbee.adapters.hub.fetch import Fetch, Part, Tell
from rbee.adapters.model_files import Mark, mark
from rbee.adapters.threads import in_thread
from rbee.pool_core.catalog import Entry, HubReference, Package
from rbee.pool_core.ports import Offer
from rbee.wire.catalog import ModelFile


def is_wanted(model: ModelFile, source: HubReference | Package, entry: Entry | None) -> bool:
    """Say whether another pool's model is what is asked for: the same name for the same source."""
    if isinstance(source, Package):
        return entry is not None and model.id == entry.id
    if entry is not None:
        return model.id == entry.id and model.reference == entry.reference
    return model.reference == str(source)


def is_trusted(offer: Offer, source: HubReference | Package, entry: Entry | None) -> bool:
    """Say whether its sums are those that we were told to expect, where we were told."""
    expected = source.sha256 if isinstance(source, Package) else entry.sha256 if entry else ""
    return bool(offer.files) and all(file.sha256 for file in offer.files) and expected in ("", offer.files[0].sha256)


async def copy(offer: Offer, folder: Path, tell: Tell) -> tuple[Mark, ...]:
    """Have the files whole in ``folder``; raises as ``Fetch`` does."""
    parts = [Part(file, folder / Path(file.path).name) for file in offer.files]
    sums = await Fetch(offer.source, parts, tell, doing="copying").run()
    return tuple([await in_thread(mark, part.target, digest) for part, digest in zip(parts, sums, strict=True)])
