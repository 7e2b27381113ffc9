"""What the store knows of its models: a small JSON file for each, ``<models_dir>/<id>.json``.

The files are the truth. A record whose model is gone, cut or replaced is noticed by size and time of change; what
cannot be read is named in the log once, and never stops the rest.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rbee import log
from rbee.adapters.files import make_folder, permitted, write_whole
from rbee.adapters.model_files import Mark, describe, inspect_all
from rbee.errors import RbeeError
from rbee.wire import codec
from rbee.wire.catalog import ModelFile
from rbee.wire.fields import NAME

_RECORD_MAX_BYTES = 1 << 20
_Stamp = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A model and its files' marks. ``asked`` are the references it was downloaded for."""

    model: ModelFile
    files: tuple[Mark, ...]
    asked: tuple[str, ...] = ()


class Records:
    """All records of a folder. Methods block; call them in a thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._usable: dict[str, tuple[_Stamp, ModelFile | None]] = {}
        self._said: dict[str, str] = {}

    def path(self, model: str) -> Path:
        return self.folder / f"{model}.json"

    def load(self) -> tuple[Record, ...]:
        """Return every record that can be read, by id."""
        return tuple(record for path in self._paths() if (record := self._read(path)))

    def usable(self) -> tuple[Record, ...]:
        """Return the records whose files are there and whole, each with its model as it is now."""
        with self._lock:
            found = ((record, self._current(record)) for record in self.load())
            return tuple(replace(record, model=model) for record, model in found if model)

    def get(self, model: str) -> Record | None:
        return self._read(self.path(model)) if NAME.fullmatch(model) else None

    def write(self, record: Record) -> None:
        """Raises NotPermitted."""
        with permitted(self.folder):
            make_folder(self.folder)
            write_whole(self.path(record.model.id), codec.dump_json(record).encode())

    def remove(self, model: str) -> None:
        """Raises NotPermitted."""
        with permitted(self.folder):
            self.path(model).unlink(missing_ok=True)

    def _paths(self) -> Iterator[Path]:
        try:
            names = sorted(entry.name for entry in os.scandir(self.folder) if not entry.name.startswith("."))
        except FileNotFoundError:
            return
        except OSError as error:
            self._say(str(self.folder), "models.unreadable", error.strerror or str(error))
            return
        for name in names:
            if name.endswith(".json") and NAME.fullmatch(name.removesuffix(".json")):
                yield self.folder / name

    def _read(self, path: Path) -> Record | None:
        try:
            with path.open("rb") as stream:
                data = stream.read(_RECORD_MAX_BYTES)
            record = codec.from_dict(Record, codec.parse_json(data), lenient=True)
        except FileNotFoundError:
            return None
        except (OSError, RbeeError) as error:
            self._say(str(path), "model.record_unreadable", str(error))
            return None
        if record.model.id != path.stem or not record.files:
            self._say(str(path), "model.record_unreadable", f"it is of {record.model.id!r}")
            return None
        return record

    def _current(self, record: Record) -> ModelFile | None:
        """Return the model as its files are now; None when they cannot be used. Looked at anew only after a change."""
        try:
            stats = [os.stat(found.path) for found in record.files]  # noqa: PTH116  (a stat_result per path, as text)
        except OSError as error:
            self._say(record.model.id, "model.file_missing", f"{error.filename}: {error.strerror}")
            return None
        stamp = tuple(number for s in stats for number in (s.st_ino, s.st_size, s.st_mtime_ns))
        if all(found.matches(s) for found, s in zip(record.files, stats, strict=True)):
            self._said.pop(record.model.id, None)
            return record.model
        known = self._usable.get(record.model.id)
        if known is None or known[0] != stamp:
            known = self._usable[record.model.id] = (stamp, self._changed(record, stats))
        return known[1]

    def _changed(self, record: Record, stats: Sequence[os.stat_result]) -> ModelFile | None:
        model = record.model
        try:
            headers = inspect_all([Path(path) for path in model.paths])
        except (OSError, RbeeError) as error:
            self._say(model.id, "model.file_broken", str(error))
            return None
        self._say(model.id, "model.file_changed", "its sum is not known any more; verify it")
        marks = [
            Mark(path=path, size_bytes=s.st_size, modified_ns=s.st_mtime_ns)
            for path, s in zip(model.paths, stats, strict=True)
        ]
        return describe(model.id, model.reference, marks, headers, revision=model.revision)

    def _say(self, what: str, event: str, problem: str) -> None:
        """Log a problem when it is new; a pool lists its models every two seconds."""
        if self._said.get(what) != f"{event} {problem}":
            self._said[what] = f"{event} {problem}"
            log.warning(event, model=what, problem=problem)
