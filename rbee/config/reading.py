"""The one reader of rbee.toml and of RBEE_… variables: flag over environment over file over default."""

import dataclasses
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rbee.config.paths import beside_config
from rbee.config.settings import Hive, Keeper, Pool, Queen, Settings, Worker
from rbee.errors import ConfigInvalid, InvalidRequest
from rbee.wire import codec

TABLES: Mapping[str, type] = {"queen": Queen, "pool": Pool, "worker": Worker, "hive": Hive, "keeper": Keeper}


def load(path: str | None, environ: Mapping[str, str], **flags: Mapping[str, Any]) -> Settings:
    """Return the settings.

    Args:
        path: ``--config``; absent: RBEE_CONFIG, else the user's or the system's file if there is one.
        environ: RBEE_<TABLE>_<KEY> is read from it.
        flags: per table, what the command line says; None values are not said.

    Raises:
        ConfigInvalid: names each wrong key, its value and what was expected.
    """
    file = _find(path or environ.get("RBEE_CONFIG"), environ)
    return _settings(_read(file, "name another with --config") if file else {}, file, environ, flags)


def check(path: str) -> Settings:
    """Return what the file at ``path`` says by itself: no variable and no flag has a say, and no other file is read.

    Raises:
        ConfigInvalid: as ``load``.
    """
    file = Path(path)
    return _settings(_read(file, "ls -l shows what is there"), file, {}, {})


def _settings(
    data: dict[str, Any], file: Path | None, environ: Mapping[str, str], flags: Mapping[str, Mapping[str, Any]]
) -> Settings:
    origins: dict[str, str] = {}
    for table in TABLES:
        variables = _from_environ(table, environ)
        said = {key: value for key, value in flags.get(table, {}).items() if value is not None}
        origins |= {f"{table}.{key}": _variable(table, key) for key in variables.keys() - said.keys()}
        origins |= {f"{table}.{key}": "a flag" for key in said}
        merged = {**_table(data, table), **variables, **said}
        if merged:
            data[table] = merged
    try:
        settings = codec.from_dict(Settings, data)
    except InvalidRequest as error:
        raise _refused(error, str(file or "rbee.toml"), origins) from None
    return dataclasses.replace(settings, file=str(file or ""))


def _refused(error: InvalidRequest, file: str, origins: Mapping[str, str]) -> ConfigInvalid:
    """Return the error in the words of who has to mend it: each key under what sets it."""
    fields = [{**each, "origin": origins.get(each["field"], file)} for each in error.details["fields"]]
    by_origin: dict[str, list[str]] = {}
    for each in fields:
        by_origin.setdefault(each["origin"], []).append(f"{each['field']}: {each['problem']}")
    sentence = "; ".join(f"{origin}: {'; '.join(found)}" for origin, found in by_origin.items())
    return ConfigInvalid(sentence, hint="etc/rbee.toml shows every key with its range", details={"fields": fields})


def _find(path: str | None, environ: Mapping[str, str]) -> Path | None:
    if path:
        return Path(path)
    return next((file for file in beside_config("rbee.toml", environ) if file.exists()), None)


def _read(file: Path, hint: str) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise ConfigInvalid(f"{file}: {error.strerror}", hint=hint) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{file} is not TOML: {error}") from None


def _table(data: Mapping[str, Any], table: str) -> dict[str, Any]:
    found = data.get(table, {})
    if not isinstance(found, dict):
        raise ConfigInvalid(f"{table} is {found!r}, expected a table [{table}]")
    return found


def _from_environ(table: str, environ: Mapping[str, str]) -> dict[str, Any]:
    prefix = _variable(table, "")
    hints = typing.get_type_hints(TABLES[table])
    found: dict[str, Any] = {}
    for variable, value in environ.items():
        if variable.startswith(prefix):
            key = variable.removeprefix(prefix).lower()
            found[key] = _parsed(hints.get(key, str), value)
    return found


def _variable(table: str, key: str) -> str:
    return f"RBEE_{table}_{key}".upper()


def _parsed(hint: Any, value: str) -> Any:
    """Return ``value`` as the field's type where that is plain to see; else as it is, for the codec to refuse."""
    if typing.get_origin(hint) is tuple:
        return [part for part in value.split(",") if part]
    if hint is bool and value in ("true", "false"):
        return value == "true"
    for kind in (int, float):
        if hint is kind:
            try:
                return kind(value)
            except ValueError:
                return value
    return value
