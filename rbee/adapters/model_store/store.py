"""The models on this host's disk: in the store's own folder, under further roots, embedded, and declared by a path."""

import functools
import os
import shlex
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from rbee import log
from rbee.adapters.files import permitted
from rbee.adapters.model_files import Mark, describe, inspect_all, mark
from rbee.adapters.model_store import embedded
from rbee.adapters.model_store.declared import Declared, already_declared, paths_of
from rbee.adapters.model_store.fetching import Fetching, Tell
from rbee.adapters.model_store.importing import check_importable, locate
from rbee.adapters.model_store.records import Record, Records
from rbee.adapters.model_store.removing import remove_files, remove_partials
from rbee.adapters.model_store.verifying import read_again
from rbee.adapters.telling import events_of
from rbee.adapters.threads import in_thread, sha256_of
from rbee.errors import Conflict, InvalidRequest, ModelNotFound, RbeeError
from rbee.pool_core import catalog as names
from rbee.pool_core.catalog import Catalog, Entry, HubReference, Named, Package, PathReference, Reference
from rbee.pool_core.ports import Neighbours
from rbee.wire.catalog import DownloadEvent, ModelEntry, ModelFile, ModelPart, Verification

STALL_S = 60.0


def open_store(
    models_dir: Path,
    roots: Sequence[Path],
    catalog: Catalog,
    *,
    endpoint: str | None = None,
    stall_s: float = STALL_S,
    neighbours: Neighbours | None = None,
) -> "FileModelStore":
    """Return the store over plain settings; ``pool_core.catalog.merged(settings.models)`` makes the catalog.

    Args:
        roots: further folders that models may be imported from.
        endpoint: of the hub; absent: ``HF_ENDPOINT``, else the public one.
        stall_s: a transfer without a byte for so long is tried again.
        neighbours: are asked before the hub.
    """
    return FileModelStore(models_dir, roots, catalog, endpoint=endpoint, stall_s=stall_s, neighbours=neighbours)


class FileModelStore:
    """Implements ``pool_core.ports.ModelStore``."""

    def __init__(
        self,
        models_dir: Path,
        roots: Sequence[Path],
        catalog: Catalog,
        *,
        endpoint: str | None,
        stall_s: float,
        neighbours: Neighbours | None,
    ) -> None:
        self._dir = models_dir
        self._roots = (models_dir, *roots)
        self._catalog = catalog
        self._records = Records(models_dir)
        self._declared = Declared(catalog, models_dir / ".declared")
        self._fetching = Fetching(
            self._records, catalog, endpoint=endpoint, stall_s=stall_s, neighbours=neighbours, remove=self._remove
        )

    @property
    def roots(self) -> tuple[Path, ...]:
        """Return every folder that a model may lie in, the embedded model's included."""
        found = (embedded.installed(e.source) for e in self._catalog.entries if isinstance(e.source, Package))
        return (*self._roots, *(path.parent for path in found if path))

    async def list(self) -> tuple[ModelFile, ...]:
        return await in_thread(self._list)

    async def catalog(self) -> tuple[ModelEntry, ...]:
        return await in_thread(self._entries)

    async def find(self, reference: str) -> ModelFile | None:
        """Return the file that an id, alias or reference names; None when it is not here.

        Raises:
            InvalidRequest: it is no reference, or names a file that is no whole model.
            NotPermitted: it names a file outside the roots.
        """
        return await in_thread(self._find, names.parse(reference))

    async def absence(self, reference: str) -> RbeeError:
        """Return why ``find`` found nothing."""
        entry = self._declared.entry(reference)
        if entry is not None:
            return await in_thread(self._declared.absence, entry)
        return ModelNotFound(f"model {reference} is not on this host", hint=f"rbee-hive models download {reference}")

    async def unfetchable(self, reference: str) -> RbeeError | None:
        """Return why no download brings it: it is a file, which somebody else has to put there."""
        match names.parse(reference):
            case PathReference() as file:
                return self._not_ours_to_fetch(file) or await self.absence(reference)
            case Named(name) if (entry := self._catalog.named(name)) and isinstance(entry.source, PathReference):
                return await self.absence(reference)
        return None

    def download(self, reference: str) -> AsyncIterator[DownloadEvent]:
        """Fetch what ``reference`` names; what is here already is ``done`` at once. Closing leaves it resumable.

        Raises:
            InvalidRequest, ModelNotFound, Unauthorized, NotPermitted, InsufficientDisk, DownloadFailed,
            ChecksumMismatch: see ``hub.Hub`` and ``fetch.Fetch``.
        """
        return events_of(functools.partial(self._download, reference))

    async def import_file(self, path: str, model: str | None) -> ModelFile:
        """Register a file where it lies; a split model by any of its parts. Every byte is read once, for its sum.

        Raises:
            InvalidRequest: no absolute path, or not a whole GGUF model.
            NotPermitted: it lies outside the roots.
            NotFound: it is not there.
            Conflict: the id is another file's, or the file is registered under another id, or declared.
        """
        paths = await in_thread(locate, path, self._roots)
        headers = await in_thread(inspect_all, paths)
        known = await in_thread(self._records.load)
        declared = await in_thread(self._declared.at, path) or self._declared.entry(model or "")
        if declared is not None:
            raise already_declared(declared, "and is not imported")
        chosen = check_importable(paths, model, known, self._taken_ids())
        marks = tuple([mark(file, await sha256_of(file)) for file in paths])
        reference = str(PathReference(str(paths[0])))
        record = Record(model=describe(chosen, reference, marks, headers), files=marks)
        await in_thread(self._records.write, record)
        log.event("model.imported", model=chosen, size_bytes=record.model.size_bytes)
        return record.model

    async def verify(self, model: str) -> Verification:
        """Read every byte again. Raises ModelNotFound; what is wrong with the files is in the answer."""
        entry = self._declared.entry(model)
        record = await in_thread(self._declared.record, entry) if entry else await in_thread(self._recorded, model)
        verification, seen = await read_again(record)
        if seen is not None and entry is not None:
            await in_thread(self._declared.keep, seen)
        elif seen is not None and await in_thread(self._records.get, record.model.id) == record:
            await in_thread(self._records.write, seen)
        if entry is not None:
            verification = replace(verification, details={**verification.details, "declared": True})
        log.event("model.verified", model=record.model.id, ok=verification.ok, problem=verification.problem or None)
        return verification

    async def delete(self, model: str) -> None:
        """Forget a model, and remove its files when they lie in the store's own folder and are not declared.

        Raises:
            ModelNotFound: nothing is here under that name.
            Conflict: it belongs to a Python package, is declared in rbee.toml, or is being downloaded.
        """
        await in_thread(self._delete, model)
        log.event("model.deleted", model=model)

    async def parts(self, model: str) -> tuple[tuple[str, ModelPart], ...]:
        """Return path and description of each file of a model, for other pools to copy.

        Raises:
            ModelNotFound: it is not here, or the sum of a file is not known.
        """
        entry = self._declared.entry(model)
        record = await in_thread(self._declared.record, entry) if entry else await in_thread(self._recorded, model)
        if not all(found.sha256 for found in record.files) or await self.find(record.model.id) is None:
            raise ModelNotFound(f"model {model} cannot be copied from here", hint=f"rbee-hive models verify {model}")
        called = paths_of(entry) if entry else [found.path for found in record.files]
        return tuple((found.path, _part(path, found)) for path, found in zip(called, record.files, strict=True))

    # Looking

    def _list(self) -> tuple[ModelFile, ...]:
        models = {model.id: model for model in self._embedded()}
        models |= {record.model.id: record.model for record in self._records.usable()}
        models = {key: model for key, model in models.items() if self._declared.entry(key) is None}
        models |= {model.id: model for model in self._declared.usable()}
        return tuple(models[key] for key in sorted(models))

    def _entries(self) -> tuple[ModelEntry, ...]:
        return tuple(self._entry(entry) for entry in self._catalog.entries)

    def _entry(self, entry: Entry) -> ModelEntry:
        here = self._named(entry.id)
        expected = entry.source.size_bytes if isinstance(entry.source, Package) else None
        return ModelEntry(
            id=entry.id,
            reference=entry.reference,
            present=here is not None,
            size_bytes=here.size_bytes if here else expected,
            aliases=entry.aliases,
            kind=here.kind if here else None,
        )

    def _find(self, reference: Reference) -> ModelFile | None:
        match reference:
            case Named(name):
                return self._named(name)
            case HubReference():
                return self._of_hub(reference)
            case PathReference(path):
                return self._at(path)

    def _named(self, name: str) -> ModelFile | None:
        entry = self._catalog.named(name)
        if entry and isinstance(entry.source, PathReference):
            return self._declared.file(entry)
        ids = {name, entry.id if entry else name}
        found = (r.model for r in self._records.usable() if r.model.id in ids and _still_means(r, entry))
        return next(found, None) or next((model for model in self._embedded() if model.id in ids), None)

    def _of_hub(self, reference: HubReference) -> ModelFile | None:
        text = str(reference)
        for record in self._records.usable():
            if text == record.model.reference or text in record.asked:
                return record.model
        return None

    def _at(self, path: str) -> ModelFile | None:
        """Return the model of a file that is declared, or lies under the roots, registered or not."""
        declared = self._declared.at(path)
        if declared is not None:
            return self._declared.file(declared)
        real = os.path.realpath(path)
        for record in self._records.usable():
            if real in record.model.paths:
                return record.model
        for model in self._embedded():
            if real in map(os.path.realpath, model.paths):
                return model
        if not os.path.lexists(path):
            return None
        paths = locate(path, self._roots)
        marks = tuple(mark(file) for file in paths)
        return describe(names.id_of_file(str(paths[0])), f"file:{paths[0]}", marks, inspect_all(paths))

    def _embedded(self) -> tuple[ModelFile, ...]:
        """Return the models that installed packages carry."""
        found = ((e.id, embedded.installed(e.source)) for e in self._catalog.entries if isinstance(e.source, Package))
        models = (_described(model, mark(path)) for model, path in found if path)
        return tuple(model for model in models if model)

    def _taken_ids(self) -> frozenset[str]:
        return frozenset(entry.id for entry in self._catalog.entries if not isinstance(entry.source, HubReference))

    def _recorded(self, model: str) -> Record:
        """Return the record that a name means, whatever became of its files; of an embedded model one made up."""
        entry = self._catalog.named(model)
        for record in self._records.load():
            if model in (record.model.id, record.model.reference, *record.asked) or (
                entry and entry.id == record.model.id
            ):
                return record
        if entry and isinstance(entry.source, Package) and (path := embedded.installed(entry.source)):
            found = mark(path, entry.source.sha256)
            named = ModelFile(id=entry.id, reference=entry.id, paths=(found.path,), size_bytes=found.size_bytes)
            return Record(model=named, files=(found,))
        raise ModelNotFound(f"no model {model} on this host", hint="rbee-hive models list")

    # Fetching

    async def _download(self, text: str, tell: Tell) -> ModelFile:
        reference = names.parse(text)
        if isinstance(reference, PathReference) and (refused := self._not_ours_to_fetch(reference)):
            raise refused
        here = await in_thread(self._find, reference)
        if here is not None:
            return here
        match reference:
            case HubReference():
                return await self._fetching.from_hub(reference, tell)
            case PathReference():
                raise await self.absence(text)
        entry = self._catalog.named(reference.name)
        if entry is None:
            return await self._fetching.by_name(reference.name, tell)
        if isinstance(entry.source, PathReference):
            raise await self.absence(text)
        return await self._fetching.of_entry(entry, entry.source, tell)

    def _not_ours_to_fetch(self, file: PathReference) -> InvalidRequest | None:
        """Return the refusal of a file that nobody declared, wherever it lies."""
        if self._declared.entry(str(file)) is not None:
            return None
        return InvalidRequest(
            f"{file} is a file; files are imported", hint=f"rbee-hive models import {shlex.quote(file.path)}"
        )

    def _delete(self, model: str) -> None:
        declared = self._declared.entry(model)
        if declared is not None:
            raise already_declared(declared, "and is not rbee's to delete")
        try:
            record = self._recorded(model)
        except ModelNotFound:
            entry = self._catalog.named(model)
            if remove_partials(self._dir / (entry.id if entry else model)):
                return
            raise
        if self._records.get(record.model.id) is None:
            raise Conflict(f"{model} is part of a Python package: {record.model.paths[0]}", hint="pip uninstall it")
        self._records.remove(record.model.id)
        self._remove(record.model.paths)

    def _remove(self, paths: Iterable[str]) -> None:
        """Remove files of our own, but for those that are declared as well. Raises NotPermitted."""
        with permitted(self._dir):
            remove_files([path for path in paths if self._declared.at(path) is None], self._dir)


@functools.lru_cache(maxsize=16)
def _described(model: str, found: Mark) -> ModelFile | None:
    """Return an embedded model, None when its file is broken; the head is read again only when the file changed."""
    try:
        return describe(model, model, (found,), inspect_all([Path(found.path)]))
    except (OSError, RbeeError) as error:
        log.warning("model.file_broken", model=model, problem=str(error))
        return None


def _still_means(record: Record, entry: Entry | None) -> bool:
    """Say whether a record is what its name stands for today: aliases can be given another source in the config."""
    if entry is None or record.model.reference.startswith("file:"):
        return True
    return entry.reference == record.model.reference or entry.reference in record.asked


def _part(called: str, found: Mark) -> ModelPart:
    return ModelPart(name=Path(called).name, size_bytes=found.size_bytes, sha256=found.sha256)
