"""Write a JSON file as TOML: toml.py JSON TOML. Nothing in TOML is null: such a key is left out."""

import json
import re
import sys
from pathlib import Path


def table(path: tuple[str, ...], values: dict[str, object]) -> str:
    """Return a table with those below it."""
    plain = {key: value for key, value in values.items() if value is not None and not isinstance(value, dict)}
    below = {key: value for key, value in values.items() if isinstance(value, dict)}
    lines = [f"{name(key)} = {inline(value)}\n" for key, value in plain.items()]
    head = [f"[{'.'.join(map(name, path))}]\n"] if path and (plain or not below) else []
    return "".join([*head, *lines, *(table((*path, key), value) for key, value in below.items())])


def name(key: str) -> str:
    """Return a key, quoted where it has to be."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def inline(value: object) -> str:
    """Return a value that stands on the right of an equals sign; JSON's strings are TOML's as well."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name(key)} = {inline(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(inline(each) for each in value) + "]"
    return json.dumps(value, ensure_ascii=False)


Path(sys.argv[2]).write_text(table((), json.loads(Path(sys.argv[1]).read_text())))
