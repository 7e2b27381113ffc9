"""Fill a package's prefix with all that is not Python: ``python3 -m tools.package PREFIX FOLDER``.

The prefix already has rbee's programs in its ``bin``; FOLDER has those of the operating system that units call. The Nix
package calls this. It refuses to leave a unit that would start something that is not there.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tools import files, layout
from tools.run import CHECKOUT, ToolError, main

STARTED = re.compile(r"^Exec\w+=[-@:+!|]*(\S+)", re.MULTILINE)


def fill(arguments: Sequence[str]) -> None:
    """Write units, man pages, completions and examples below the prefix."""
    if len(arguments) != 2:
        raise ToolError("expected PREFIX and FOLDER")
    prefix, programs = map(Path, arguments)
    for place in layout.packaged(prefix, programs):
        contents = files.texts(place)
        if missing := sorted(set(_missing(contents))):
            raise ToolError("; ".join(missing))
        for target, text in contents.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        shutil.copyfile(CHECKOUT / "etc" / "rbee.toml", place.config)


def _missing(contents: Mapping[Path, str]) -> Iterator[str]:
    """Yield a sentence for each program that a unit starts and nobody can run."""
    for target, text in contents.items():
        if target.suffix == ".service":
            for program in STARTED.findall(text):
                if not os.access(program, os.X_OK):
                    yield f"{target.name} starts {program}, which is not there"


if __name__ == "__main__":
    main(fill)
