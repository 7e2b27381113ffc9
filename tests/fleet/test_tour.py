"""docs/three-machines.md, word for word: each command is run on blep, and each line below it has to be said."""

import re
import shlex
from pathlib import Path

from tests.fleet.house import House

PAGE = Path(__file__).parents[2] / "docs/three-machines.md"


def steps() -> list[tuple[str, list[str]]]:
    """Return each command of the page with the lines that it shows."""
    found: list[tuple[str, list[str]]] = []
    for line in PAGE.read_text().splitlines():
        if line.startswith("    $ "):
            found.append((line.removeprefix("    $ "), []))
        elif line.startswith("    ") and found and not line.startswith("    #"):
            found[-1][1].append(line.strip())
        elif line.startswith("## TLS"):
            break
    return found


def test_the_page_has_its_commands() -> None:
    programs = {shlex.split(command)[0] for command, _ in steps()}
    assert programs == {"rbee"}
    assert len(steps()) >= 13


def test_the_tour_is_true(house: House) -> None:
    for name in house.hosts:
        house.hosts[name].run(["rm", "-f", "/var/lib/rbee/models/tiny.json"])
    for command, lines in steps():
        done = house.rbee(*shlex.split(command)[1:], check=False, timeout=300)
        said = re.sub(r" +", " ", done.stdout)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        assert said.strip(), command
        for line in lines:
            assert re.sub(r" +", " ", line) in said, f"{command} did not say {line!r}, but:\n{done.stdout}"
