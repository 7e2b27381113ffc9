"""Model names: what people type, brought to one spelling."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from rbee.wire.catalog import ModelEntry, ModelFile
from rbee.wire.mixes import PLUS, is_mix

_HUB_FILE = re.compile(
    r"(?P<repo>hf:[^:@]+)(?:@[^:]+)?::file=(?!.*(?i:mmproj))"  # what sees for a model is not the model
    r".*[.-](?<!\b(?i:UD)-)(?P<how>(?:(?i:UD)-)?[A-Za-z]\w*)"  # UD-Q4_K_XL is not Q4_K_XL
    r"(?:-\d{5}-of-\d{5})?\.gguf"
)


class Names:
    """Knows that ``qwen``, ``qwen-0.5b`` and the catalog's full reference are one model."""

    def __init__(self, entries: Iterable[ModelEntry] = ()) -> None:
        self.entries = tuple(entries)
        self._canonical = _table(self.entries)

    def canonical(self, name: str) -> str:
        """Return the catalog's id for ``name``; a name the catalog lacks stands for itself.

        Of a model with adapters each part has its own.
        """
        if PLUS in name and is_mix(name):
            return PLUS.join(self._canonical.get(part, part) for part in name.split(PLUS))
        return self._canonical.get(name, name)

    def known(self, name: str) -> bool:
        return name in self._canonical

    def same(self, name: str, other: str) -> bool:
        return self.canonical(name) == self.canonical(other)

    def file_of(self, name: str, files: Iterable[ModelFile]) -> ModelFile | None:
        """Return the file among ``files`` that ``name`` means; of a model with adapters, all of them as one."""
        there = tuple(files)
        if is_mix(name):
            return mixed([self.file_of(part, there) for part in name.split(PLUS)])
        wanted = self.canonical(name)
        return next((f for f in there if wanted in (self.canonical(f.id), self.canonical(f.reference))), None)


def mixed(files: Sequence[ModelFile | None]) -> ModelFile | None:
    """Return a base with its adapters as one file; None where one of them is missing."""
    there = [file for file in files if file is not None]
    if len(there) < len(files):
        return None
    return replace(there[0], id=PLUS.join(file.id for file in there), size_bytes=sum(file.size_bytes for file in there))


def quantised(reference: str) -> str | None:
    """Return ``hf:org/repo:Q4_K_M``, as clients of Ollama's name a file of the hub's; None for what is none."""
    found = _HUB_FILE.fullmatch(reference)
    return f"{found['repo']}:{found['how'].upper()}" if found else None


def _table(entries: Sequence[ModelEntry]) -> Mapping[str, str]:
    table: dict[str, str] = {}
    for entry in entries:
        for spelling in (entry.id, entry.reference, *entry.aliases):
            table.setdefault(spelling, entry.id)
    claimed: dict[str, set[str]] = {}
    for entry in entries:
        claimed.setdefault(quantised(entry.reference) or entry.id, set()).add(table[entry.reference])
    for spelling, ids in claimed.items():
        if len(ids) == 1:  # else it might mean either
            table.setdefault(spelling, *ids)
    return table
