"""A model copied from another pool of the fleet, with the hub's own care: resumed, hashed, checked before it counts."""

from collections.abc import Sequence
from pathlib import Path

from rbee.adapters.hub.fetch import Fetch, Part, Tell
from rbee.adapters.model_files import Mark, mark
from rbee.adapters.threads import in_thread
from rbee.errors import Conflict
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


def same(name: str, offers: Sequence[Offer]) -> Sequence[Offer]:
    """Return those of ``offers`` that say what their bytes are.

    Raises:
        Conflict: they are not the same bytes.
    """
    known = [offer for offer in offers if offer.files and all(file.sha256 for file in offer.files)]
    if len({tuple(file.sha256 for file in offer.files) for offer in known}) > 1:
        told = ", ".join(f"{offer.source.name} (sha256 {offer.files[0].sha256[:12]})" for offer in known)
        raise Conflict(
            f"{name} is not the same model everywhere: {told}",
            hint=f"put the file you mean on this host; rbee-hive models import PATH --id {name}",
        )
    return known


async def copy(offer: Offer, folder: Path, tell: Tell) -> tuple[Mark, ...]:
    """Have the files whole in ``folder``; raises as ``Fetch`` does."""
    parts = [Part(file, folder / Path(file.path).name) for file in offer.files]
    sums = await Fetch(offer.source, parts, tell, doing="copying").run()
    return tuple([await in_thread(mark, part.target, digest) for part, digest in zip(parts, sums, strict=True)])
