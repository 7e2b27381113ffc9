"""A flake as a person names it, and the names of what is in it. Pure."""

import os.path
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rbee.errors import InvalidRequest

CONFIGURATIONS = "nixosConfigurations"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_EXPECTED = "expected a folder with a flake.nix, or another reference to a flake, and maybe #name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flake:
    """Where the hosts' configurations are.

    Args:
        url: what nix is given; a folder is absolute, so that it is the same one from wherever it is asked again.
        attribute: what the configuration of the one host is called; empty: as its host.
    """

    url: str
    attribute: str = ""

    @classmethod
    def parse(cls, text: str, *, folder: Path) -> Self:
        """Return the flake that ``text`` names where a person stands in ``folder``.

        Raises:
            InvalidRequest: it names none.
        """
        url, mark, attribute = text.partition("#")
        if url.startswith("-") or not text.isprintable() or not text:
            raise InvalidRequest(f"--flake is {text!r}, {_EXPECTED}")
        if any(letter.isspace() for letter in _anywhere(url or ".", folder)):
            raise InvalidRequest(
                f"--flake is {text!r}, and nix takes no folder with a space in its name",
                hint="go by a link without one",
            )
        if mark and not _NAME.fullmatch(attribute):
            raise InvalidRequest(
                f"--flake is {text!r}: {attribute!r} is no name of a configuration",
                hint="#NAME is what stands before the = in nixosConfigurations",
            )
        return cls(url=_anywhere(url or ".", folder), attribute=attribute)

    @property
    def folder(self) -> Path | None:
        """Where its flake.nix is looked for; None when it is fetched from elsewhere, or told apart by a query."""
        return Path(self.url) if self.url.startswith("/") and "?" not in self.url else None

    def name_of(self, host: str) -> str:
        """Return what the configuration of ``host`` is called."""
        return self.attribute or host

    def of(self, host: str) -> str:
        """Return the configuration of ``host`` as nixos-rebuild is told it."""
        return f"{self.url}#{self.name_of(host)}"

    def inside(self, host: str, *path: str) -> str:
        """Return an attribute of that configuration as nix is told it."""
        name = self.name_of(host)
        quoted = name if _PLAIN.fullmatch(name) else f'"{name}"'
        return f"{self.url}#{'.'.join((CONFIGURATIONS, quoted, 'config', *path))}"


def _anywhere(url: str, folder: Path) -> str:
    """Return a folder as an absolute one; what begins otherwise is a name or a URL, and stays."""
    if url == "~" or url.startswith("~/"):
        url = os.path.expanduser(url)  # noqa: PTH111  (a query may follow, which is no part of a path)
    if not url.startswith((".", "/")):
        return url
    path, mark, query = url.partition("?")
    return os.path.normpath(folder / path) + mark + query
