"""Changes to somebody's TOML file: tomlkit keeps their comments, order and spelling. ``config`` is the only reader."""

import contextlib
import copy
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
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
        ConfigInvalid: it is not TOML; or so written that a change would change other keys as well.
        NotPermitted: it may not be written.
        InsufficientDisk: there is no room for it.
    """
    real = Path(os.path.realpath(file))
    with permitted(file.parent), _alone(real.parent):
        text = _read(real)
        said = _parsed(text, real)
        todo = {where: value for where, value in changes.items() if _get(said, where) != value}
        if todo:
            _write(real, _changed(text, todo, _applied(said, todo), file))
        return [".".join(where) for where in todo]


def said(file: Path, keys: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], Any]:
    """Return what ``file`` says itself of ``keys``; None: nothing. Raises ConfigInvalid when it is not TOML."""
    real = Path(os.path.realpath(file))
    with permitted(file.parent):
        found = _parsed(_read(real), real)
    return {where: _get(found, where) for where in keys}


def require_writable(file: Path) -> None:
    """Find out whether ``change`` could write ``file``, before anything else is done; raises as it does."""
    real = Path(os.path.realpath(file))
    with permitted(file.parent), _alone(real.parent):
        _parsed(_read(real), real)
        probe = _beside(real)
        probe.touch()
        probe.unlink()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, wait=True):
        yield


def _read(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", newline="") as stream:  # its ends of lines stay as they are
            return stream.read()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise ConfigInvalid(f"{file} is not TOML: {error}") from None


def _parsed(text: str, file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigInvalid(f"{file} is not TOML: {error}") from None


def _get(said: Mapping[str, Any], where: tuple[str, ...]) -> Any:
    found: Any = said
    for name in where:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _applied(said: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    """Return what the file is to say."""
    wanted = copy.deepcopy(dict(said))
    for (*tables, key), value in changes.items():
        table = wanted
        for name in tables:
            table = table.setdefault(name, {})
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value
    return wanted


def _changed(text: str, changes: Changes, wanted: Mapping[str, Any], file: Path) -> str:
    """Return the text that says ``wanted``, and nothing else: by the first way that does."""
    for way in (_by_lines, _by_tomlkit, _at_the_end):
        with contextlib.suppress(TOMLKitError, ValueError, LookupError, TypeError, AttributeError):
            new = way(text, changes)
            if _pruned(tomllib.loads(new)) == _pruned(wanted):
                return new
    keys = ", ".join(".".join(where) for where in changes)
    raise ConfigInvalid(
        f"{file} is so written that {keys} cannot be changed without changing other keys",
        hint=f"write it as a table, [{'.'.join(next(iter(changes))[:-1])}], and try again",
    )


def _pruned(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return it without tables that say nothing."""
    kept = {key: _pruned(value) if isinstance(value, dict) else value for key, value in said.items()}
    return {key: value for key, value in kept.items() if value != {}}


def _by_lines(text: str, changes: Changes) -> str:
    """Take tables out line by line, for tomlkit takes the comment above the next one with them; then as it does."""
    left = {}
    for where, value in changes.items():
        shorter = _without_table(text, where) if value is None else None
        if shorter is None:
            left[where] = value
        else:
            text = shorter
    return _by_tomlkit(text, left)


def _without_table(text: str, where: tuple[str, ...]) -> str | None:
    """Return ``text`` without the table that ``[where]`` begins; None when no line does."""
    lines = text.splitlines(keepends=True)
    name = r"\s*\.\s*".join(f'"?{re.escape(part)}"?' for part in where)
    first = next((n for n, line in enumerate(lines) if re.match(rf"\s*\[\s*{name}\s*\]", line)), None)
    if first is None:
        return None
    end = next((n for n in range(first + 1, len(lines)) if lines[n].lstrip().startswith("[")), len(lines))
    own = [n for n in range(first + 1, end) if lines[n].strip() and not lines[n].lstrip().startswith("#")]
    last = own[-1] if own else first
    after = lines[last + 1 :]
    if first > 0 and not lines[first - 1].strip() and after and not after[0].strip():
        after = after[1:]  # of the empty lines on both sides one is enough
    return "".join([*lines[:first], *after])


def _by_tomlkit(text: str, changes: Changes) -> str:
    document = tomlkit.parse(text)
    for where, value in changes.items():
        _edit(document, where, value)
    return tomlkit.dumps(document)


def _at_the_end(text: str, changes: Changes) -> str:
    """Add tables at the end of what tomlkit would reorder, such as dotted keys."""
    tables: dict[tuple[str, ...], dict[str, Any]] = {}
    for (*table, key), value in changes.items():
        tables.setdefault(tuple(table), {})[key] = value
    added = [f"\n[{'.'.join(table)}]\n{tomlkit.dumps(keys)}" for table, keys in tables.items()]
    return text + ("" if text.endswith("\n") else "\n") + "".join(added)


def _edit(document: tomlkit.TOMLDocument, where: tuple[str, ...], value: Any) -> None:
    *tables, key = where
    table: Any = document
    for name in tables:
        if name not in table:
            if value is None:
                return
            table[name] = tomlkit.table()
        table = table[name]
    if value is None:
        table.pop(key, None)
    else:
        table[key] = tomlkit.item(value) if not isinstance(value, dict) else _table(value)


def _table(values: Mapping[str, Any]) -> Table:
    made = tomlkit.table()
    for key, value in values.items():
        made[key] = value
    return made


def _beside(file: Path) -> Path:
    return file.with_name(f".{file.name}.{os.getpid()}.tmp")


def _write(file: Path, text: str) -> None:
    new = _beside(file)
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
