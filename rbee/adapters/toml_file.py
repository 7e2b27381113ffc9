"""Changes to somebody's TOML file: tomlkit keeps their comments, order and spelling. ``config`` is the only reader."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table

from rbee.adapters.files import locked, permitted
from rbee.errors import ConfigInvalid

Changes = Mapping[tuple[str, ...], Any]
"""Where (table, …, key) → what shall stand there; None: nothing."""


def change(file: Path, changes: Changes) -> list[str]:
    """Make ``changes`` and return the keys that were changed; a file in which all is so already is not written.

    A link is followed, the mode and the owner stay, and a crash leaves the old file or the new one. Who changes it at
    the same time by these means waits, and finds what we have made.

    Raises:
        ConfigInvalid: it is not TOML.
        NotPermitted: it may not be written.
        InsufficientDisk: there is no room for it.
    """
    real = Path(os.path.realpath(file))
    with permitted(file.parent), _alone(real.parent):
        document = _read(real)
        changed = [".".join(where) for where, value in changes.items() if _changed(document, where, value)]
        if changed:
            _write(real, tomlkit.dumps(document))
        return changed


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, wait=True):
        yield


def _read(file: Path) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return tomlkit.document()
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{file} is not TOML: {error}") from None


def _changed(document: tomlkit.TOMLDocument, where: tuple[str, ...], value: Any) -> bool:
    *tables, key = where
    table: Any = document
    for name in tables:
        if name not in table:
            if value is None:
                return False
            table[name] = tomlkit.table()
        table = table[name]
    if table.get(key) == value:
        return False
    if value is None:
        del table[key]
    else:
        table[key] = tomlkit.item(value) if not isinstance(value, dict) else _table(value)
    return True


def _table(values: Mapping[str, Any]) -> Table:
    made = tomlkit.table()
    for key, value in values.items():
        made[key] = value
    return made


def _write(file: Path, text: str) -> None:
    new = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with new.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            if file.exists():
                was = file.stat()
                os.fchmod(stream.fileno(), was.st_mode & 0o7777)
                if os.geteuid() == 0:
                    os.fchown(stream.fileno(), was.st_uid, was.st_gid)
            os.fsync(stream.fileno())
        new.replace(file)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
