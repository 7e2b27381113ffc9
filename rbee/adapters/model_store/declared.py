"""Models that rbee.toml declares by their path: files that somebody else put on this host.

They are there without being imported, and nothing here moves or removes them. A file that is missing or broken is named
in the log once, and never stops the rest. What their bytes were when somebody verified them is kept in a folder of its
own, so that a declaration that goes leaves no model behind.
"""

import functools
import os
from dataclasses import replace
from pathlib import Path

from rbee import log
from rbee.adapters.model_files import Mark, describe, inspect_all, mark
from rbee.adapters.model_store.records import Record, Records
from rbee.errors import Conflict, InvalidRequest, ModelNotFound, RbeeError
from rbee.pool_core.catalog import Catalog, Entry, PathReference, files_of
from rbee.wire.catalog import ModelFile


class Declared:
    """The declared entries of a catalog. Methods block; call them in a thread.

    Args:
        folder: where what was verified is remembered.
    """

    def __init__(self, catalog: Catalog, folder: Path) -> None:
        self._entries = tuple(entry for entry in catalog.entries if isinstance(entry.source, PathReference))
        self._verified = Records(folder)
        self._said: dict[str, str] = {}

    def usable(self) -> tuple[ModelFile, ...]:
        """Return the models whose files are there and whole; say of the others why they are not among them."""
        seen = [(entry, self._look(entry)) for entry in self._entries]
        for entry, found in seen:
            self._say(entry, found.message if isinstance(found, RbeeError) else "")
        return tuple(found for _, found in seen if isinstance(found, ModelFile))

    def entry(self, model: str) -> Entry | None:
        """Return the declaration that an alias, ``file:`` and its path, or the path alone means."""
        wanted = (model, f"file:{model}")
        return next((entry for entry in self._entries if model == entry.id or entry.reference in wanted), None)

    def at(self, path: str) -> Entry | None:
        """Return the declaration whose files ``path`` is one of, by whichever links."""
        named = self.entry(path)
        if named is not None:
            return named
        real = os.path.realpath(path)
        return next((entry for entry in self._entries if real in real_paths(entry)), None)

    def file(self, entry: Entry) -> ModelFile | None:
        """Return the model as its files are now; None when they cannot be used."""
        found = self._look(entry)
        return None if isinstance(found, RbeeError) else found

    def absence(self, entry: Entry) -> RbeeError:
        """Return why the model cannot be used."""
        found = self._look(entry)
        problem = found.message if isinstance(found, RbeeError) else "it is there now"
        return ModelNotFound(
            f"model {entry.id}, which rbee.toml declares, cannot be used: {problem}",
            hint=f"put a whole file there, or correct [models.{entry.id}] in rbee.toml",
        )

    def record(self, entry: Entry) -> Record:
        """Return what there is, whole or not, with the sums it should have as far as anybody knows."""
        marks = tuple(_mark(path) for path in real_paths(entry))
        kept = self._kept(entry, marks)
        if kept is not None:
            return kept
        first = replace(marks[0], sha256=entry.sha256)
        size_bytes = sum(found.size_bytes for found in marks)
        paths = tuple(found.path for found in marks)
        named = ModelFile(id=entry.id, reference=entry.reference, paths=paths, size_bytes=size_bytes)
        return Record(model=named, files=(first, *marks[1:]))

    def keep(self, record: Record) -> None:
        """Remember what was read. Raises NotPermitted."""
        self._verified.write(record)

    def _look(self, entry: Entry) -> ModelFile | RbeeError:
        marks = tuple(_mark(path) for path in real_paths(entry))
        kept = self._kept(entry, marks)
        if kept is not None:
            return kept.model
        try:
            return _described(entry.id, entry.reference, marks)
        except RbeeError as error:
            return error
        except OSError as error:
            return RbeeError(f"{error.filename}: {error.strerror}")

    def _say(self, entry: Entry, problem: str) -> None:
        """Log a problem when it is new; a pool lists its models every two seconds."""
        if problem and self._said.get(entry.id) != problem:
            log.warning("model.declared_unusable", model=entry.id, reference=entry.reference, problem=problem)
        self._said[entry.id] = problem

    def _kept(self, entry: Entry, marks: tuple[Mark, ...]) -> Record | None:
        """Return what was verified, if it is of these very files, and they are those that are wanted."""
        kept = self._verified.get(entry.id)
        if kept is None or kept.model.reference != entry.reference:
            return None
        same = tuple(replace(found, sha256="") for found in kept.files) == marks
        return kept if same and entry.sha256 in ("", kept.files[0].sha256) else None


def paths_of(entry: Entry) -> tuple[str, ...]:
    """Return the parts of the model as the declaration calls them."""
    assert isinstance(entry.source, PathReference)  # noqa: S101  (the others have no path)
    return files_of(entry.source)


def real_paths(entry: Entry) -> tuple[str, ...]:
    """Return the files that are meant, behind all links: a split model may lie in a folder of links."""
    return tuple(map(os.path.realpath, paths_of(entry)))


def already_declared(entry: Entry, therefore: str) -> Conflict:
    """Return the refusal of what would make something else of a declared model."""
    return Conflict(
        f"model {entry.id} is declared in rbee.toml, as {entry.reference}, {therefore}",
        hint=f"take [models.{entry.id}] out of rbee.toml, then systemctl reload rbee-pool",
    )


def _mark(path: str) -> Mark:
    """Return a file as it is; one that is not there is empty."""
    try:
        return mark(Path(path))
    except OSError:
        return Mark(path=path, size_bytes=0, modified_ns=0)


@functools.lru_cache(maxsize=128)
def _described(model: str, reference: str, marks: tuple[Mark, ...]) -> ModelFile | RbeeError:
    """Return the model, or what is broken about its files; the heads are read again only when those changed.

    Raises:
        RbeeError, OSError: they are not there or may not be read, which can change without leaving a mark on them.
    """
    try:
        return describe(model, reference, marks, inspect_all([Path(found.path) for found in marks]))
    except InvalidRequest as error:
        return error
