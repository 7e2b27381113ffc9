"""Model names: what people type, brought to one spelling."""

from collections.abc import Iterable, Mapping

from rbee.wire.catalog import ModelEntry, ModelFile


class Names:
    """Knows that ``qwen``, ``qwen-0.5b`` and the catalog's full reference are one model."""

    def __init__(self, entries: Iterable[ModelEntry] = ()) -> None:
        self.entries = tuple(entries)
        self._canonical = _table(self.entries)

    def canonical(self, name: str) -> str:
        """Return the catalog's id for ``name``; a name the catalog lacks stands for itself."""
        return self._canonical.get(name, name)

    def known(self, name: str) -> bool:
        return name in self._canonical

    def same(self, name: str, other: str) -> bool:
        return self.canonical(name) == self.canonical(other)

    def file_of(self, name: str, files: Iterable[ModelFile]) -> ModelFile | None:
        """Return the file among ``files`` that ``name`` means."""
        wanted = self.canonical(name)
        return next((f for f in files if wanted in (self.canonical(f.id), self.canonical(f.reference))), None)


def _table(entries: Iterable[ModelEntry]) -> Mapping[str, str]:
    table: dict[str, str] = {}
    for entry in entries:
        for spelling in (entry.id, entry.reference, *entry.aliases):
            table.setdefault(spelling, entry.id)
    return table
