"""The catalog, and who has which file of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rbee.orchestrator_core.names import Names
from rbee.orchestrator_core.poolview import PoolView
from rbee.wire.catalog import ModelEntry, ModelFile


def models_of(names: Names, pools: Sequence[PoolView]) -> tuple[ModelEntry, ...]:
    """Return every model that has a name in the catalog or lies at a pool, each with the pools that have it."""
    having = _having(names, pools)
    listed = {entry.id: entry for entry in names.entries}
    for model, found in having.items():
        if model not in listed:
            listed[model] = ModelEntry(id=model, reference=found[0][1].reference)
    return tuple(_with_pools(entry, having.get(model, [])) for model, entry in listed.items())


def files_of(names: Names, pools: Sequence[PoolView]) -> Mapping[str, ModelFile]:
    """Return every model that lies at a pool, and one of its files."""
    return {model: found[0][1] for model, found in _having(names, pools).items()}


def _having(names: Names, pools: Sequence[PoolView]) -> Mapping[str, list[tuple[str, ModelFile]]]:
    having: dict[str, list[tuple[str, ModelFile]]] = {}
    for pool in pools:
        for file in pool.snapshot.models if pool.snapshot else ():
            having.setdefault(_id(names, file), []).append((pool.id, file))
    return having


def _id(names: Names, file: ModelFile) -> str:
    spelling = next((name for name in (file.id, file.reference) if names.known(name)), file.id)
    return names.canonical(spelling)


def _with_pools(entry: ModelEntry, found: Sequence[tuple[str, ModelFile]]) -> ModelEntry:
    if not found:
        return entry
    file = found[0][1]
    pools = tuple(pool for pool, _ in found)
    return replace(entry, present=True, size_bytes=file.size_bytes, pools=pools, kind=file.kind)
