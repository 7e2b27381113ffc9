"""A command line understood by its usage text. docopt does it; it is given only the part that can matter.

docopt-ng builds a pattern of the whole text each time, which takes 80 ms for fifty commands and 3 ms for one.
"""

import re
from collections.abc import Sequence
from typing import Any

_OPTION = re.compile(r"^  (?:-\w, )?(--[a-z-]+)", re.MULTILINE)


def parse(program: str, usage: str, words: Sequence[str]) -> dict[str, Any]:
    """Return docopt's answer.

    Raises:
        docopt.DocoptExit: ``words`` are not of ``usage``.
    """
    import docopt  # noqa: PLC0415  (half of what --help would cost)

    return dict(docopt.docopt(relevant(program, usage, words), list(words), default_help=False))


def relevant(program: str, usage: str, words: Sequence[str]) -> str:
    """Return ``usage`` with only those of its lines that begin with the words given; all of it when none does.

    Options that are only in other lines go as well, or ``[options]`` would take them anywhere.
    """
    every = lines(program, usage)
    before = words[: words.index("--")] if "--" in words else words
    given = [word for word in before if not word.startswith("-")]
    wanted = [line for line in every if (own := _commands(line)) and own == given[: len(own)]]
    if not wanted:
        return usage
    of_wanted, of_any = set(_names(wanted)), set(_names(every))
    blocks = re.split(r"\n(?=  -)|\n\n", usage[usage.index(every[-1]) + len(every[-1]) :])
    described = [block for block in blocks if (name := _OPTION.match(block)) and _stays(name[1], of_wanted, of_any)]
    return "Usage:\n" + "\n".join(wanted) + "\n\nOptions:\n" + "\n".join(described) + "\n"


def lines(program: str, usage: str) -> list[str]:
    """Return the usage lines, each with what continues it."""
    return re.findall(rf"^  {program} .*(?:\n {{6,}}.*)*", usage, re.MULTILINE)


def _commands(line: str) -> list[str]:
    words = line.split()[1:]
    own = next((n for n, word in enumerate(words) if not re.fullmatch(r"[a-z][a-z-]*", word)), len(words))
    return words[:own]


def _names(usage_lines: Sequence[str]) -> list[str]:
    return re.findall(r"--[a-z][a-z-]*", " ".join(usage_lines))


def _stays(option: str, of_wanted: set[str], of_any: set[str]) -> bool:
    return option in of_wanted or option not in of_any
