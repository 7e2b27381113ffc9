"""Make docs/nixos-options.md from the module's options: ``python -m tools.nixos_options``, which needs nix.

What it makes is committed, so that it can be read without Nix; a test compares. The options are evaluated with the
stand-in for nixpkgs that the tests have.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = CHECKOUT / "docs/nixos-options.md"
_EXPRESSION = """
let lib = import ./tests/nix/nixpkgs/lib;
in import ./nix/options.nix { inherit lib; nixosSystem = import ./tests/nix/nixpkgs/nixos { inherit lib; }; }
"""
_NIX_CONFIG = "build-users-group =\nsubstituters =\n"
_HEAD = """\
# Options of the NixOS module

Made by `python -m tools.nixos_options` from `nix/module.nix`. [nixos.md](nixos.md) says how they go together.
"""
_AREAS = {
    "": "For all of a host",
    "queen": "The queen",
    "pool": "The pool",
    "models": "Models",
    "workers": "Workers that are kept up",
    "keeper": "The keeper",
}


def options() -> list[dict[str, Any]]:
    """Return what ``nix/options.nix`` says. Raises CalledProcessError with Nix' own words."""
    done = subprocess.run(
        ["nix-instantiate", "--eval", "--strict", "--json", "--expr", _EXPRESSION],
        cwd=CHECKOUT,
        env={**os.environ, "NIX_CONFIG": _NIX_CONFIG},
        stdout=subprocess.PIPE,
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def page(listed: Iterable[Mapping[str, Any]]) -> str:
    """Return the page."""
    parts = [_HEAD]
    for area, title in _AREAS.items():
        parts.append(f"\n## {title}\n")
        parts += [_section(option) for option in listed if _area(option["name"]) == area]
    return "".join(parts)


def _area(name: str) -> str:
    first = name.removeprefix("services.rbee.").partition(".")[0]
    return first if first in _AREAS else ""


def _section(option: Mapping[str, Any]) -> str:
    lines = ["", f"### `{option['name']}`", "", option["description"].strip(), "", f"- Type: {option['type']}"]
    for key in ("default", "example"):
        if key in option:
            lines += _value(key.capitalize(), option[key]["text"].strip(), code=option[key]["code"])
    if option["readOnly"]:
        lines.append("- Read only")
    return "\n".join(lines) + "\n"


def _value(title: str, text: str, *, code: bool) -> Iterator[str]:
    if "\n" in text:
        yield f"- {title}:"
        yield ""
        yield from (f"      {line}".rstrip() for line in text.splitlines())
    else:
        yield f"- {title}: `{text}`" if code else f"- {title}: {text}"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(options()))
    sys.stdout.write(f"{PAGE.relative_to(CHECKOUT)}\n")


if __name__ == "__main__":
    main()
