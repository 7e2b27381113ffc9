"""Read a docopt usage text: its commands, their options, and its sections. Man pages and completions are made of it."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """``names`` are its spellings; ``value`` is empty for one that takes none."""

    names: tuple[str, ...]
    value: str
    help: str


@dataclass(frozen=True)
class Usage:
    """A usage text taken apart. ``commands`` are the words of each line, such as ("worker", "spawn")."""

    program: str
    summary: str
    synopses: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]
    options: tuple[Option, ...]
    notes: tuple[str, ...]


def read(text: str) -> Usage:
    """Return what the text says."""
    blocks = [block.strip("\n") for block in text.strip().split("\n\n")]
    program, _, summary = blocks[0].partition(": ")
    usage = next(block for block in blocks if block.startswith("Usage:"))
    lists = [block for block in blocks if re.match(r"Options[^\n]*:\n", block)]
    synopses = _joined(usage.splitlines()[1:], f"  {program}")
    return Usage(
        program=program,
        summary=summary,
        synopses=synopses,
        commands=tuple(_words(synopsis) for synopsis in synopses),
        options=tuple(option for block in lists for option in _options(block.splitlines()[1:])),
        notes=tuple(block for block in blocks[1:] if block != usage and block not in lists),
    )


def _joined(lines: list[str], start: str) -> tuple[str, ...]:
    """Put continued lines together."""
    found: list[str] = []
    for line in lines:
        if line.startswith(start):
            found.append(line.strip())
        else:
            found[-1] += f" {line.strip()}"
    return tuple(found)


def _words(synopsis: str) -> tuple[str, ...]:
    words = []
    for word in synopsis.split()[1:]:
        if not re.fullmatch(r"[a-z][a-z-]*", word):
            break
        words.append(word)
    return tuple(words)


def _options(lines: list[str]) -> list[Option]:
    found: list[Option] = []
    for line in lines:
        if match := re.match(r"  (-\S.*?)(?:  +(.*))?$", line):
            spellings = re.split(r",\s*", match[1])
            names = tuple(spelling.partition("=")[0] for spelling in spellings)
            value = next((spelling.partition("=")[2] for spelling in spellings if "=" in spelling), "")
            found.append(Option(names, value, match[2] or ""))
        else:
            last = found.pop()
            found.append(Option(last.names, last.value, f"{last.help} {line.strip()}".strip()))
    return found
