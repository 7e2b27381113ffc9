"""The catalog, who has which file of it, and what may be asked for."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from rbee.errors import InvalidRequest, ModelNotFound
from rbee.orchestrator_core.names import Names, mixed
from rbee.orchestrator_core.poolview import PoolView
from rbee.pool_core import mixes
from rbee.wire.catalog import ModelEntry, ModelFile, ModelKind
from rbee.wire.mixes import PLUS, is_mix


def models_of(names: Names, pools: Sequence[PoolView]) -> tuple[ModelEntry, ...]:
    """Return every model that has a name in the catalog or lies at a pool, each with the pools that have it."""
    having = _having(names, pools)
    listed = {entry.id: entry for entry in names.entries}
    for model, found in having.items():
        if model not in listed:
            listed[model] = ModelEntry(id=model, reference=found[0][1].reference)
    return tuple(_with_pools(entry, having.get(model, [])) for model, entry in listed.items())


def askable(names: Names, pools: Sequence[PoolView]) -> Mapping[str, ModelFile]:
    """Return what a job may name, each with a file of it: models, and models with an adapter that lies beside them.

    Several adapters over a model may be asked for as well; those are too many to list.
    """
    found: dict[str, ModelFile] = {}
    mixed_here: dict[str, ModelFile] = {}
    for pool in pools:
        here = {_id(names, file): file for file in (pool.snapshot.models if pool.snapshot else ())}
        adapters = {adapter: file for adapter, file in here.items() if file.kind is ModelKind.ADAPTER}
        for base, weights in here.items():
            if base not in adapters:
                found.setdefault(base, weights)
            for adapter, file in adapters.items():
                mix = f"{base}{PLUS}{adapter}"
                if mix not in mixed_here and _go_together(weights, [file]):
                    mixed_here[mix] = _together([weights, file])
    return found | mixed_here


def file_of(names: Names, pools: Sequence[PoolView], model: str) -> ModelFile:
    """Return a file of what a job may name so, in any spelling; of a model with adapters, all of them as one.

    Raises:
        ModelNotFound: no pool has it, or it is none.
    """
    file = next(files(names, pools, model), None)
    if file is None:
        raise ModelNotFound(f"no pool has a model {model[:100]}", hint="GET /v1/models", details={"model": model[:300]})
    if file.kind is ModelKind.ADAPTER:
        raise ModelNotFound(
            f"{model} is an adapter, and no model", hint=f"ask for <base>{PLUS}{model}", details={"model": model}
        )
    return file


def files(names: Names, pools: Sequence[PoolView], model: str) -> Iterator[ModelFile]:
    """Yield the file of ``model``, in any spelling, at each pool that has it; of a mix that goes together, as one."""
    for pool in pools:
        there = pool.snapshot.models if pool.snapshot else ()
        spelled = model.split(PLUS) if is_mix(model) else [model]
        parts = [file for part in spelled if (file := names.file_of(part, there)) is not None]
        if len(parts) == len(spelled) and (len(parts) == 1 or _go_together(parts[0], parts[1:])):
            yield _together(parts) if parts[1:] else parts[0]


def _go_together(base: ModelFile, adapters: Sequence[ModelFile]) -> bool:
    """Say whether a pool would try."""
    try:
        mixes.check(base, adapters)
    except InvalidRequest:
        return False
    return True


def _together(parts: Sequence[ModelFile]) -> ModelFile:
    """Return a base and its adapters as one file, whose sum is not the base's."""
    sums = [file.sha256 for file in parts]
    whole = hashlib.sha256("".join(sums).encode()).hexdigest() if all(sums) else ""
    return replace(mixed(parts) or parts[0], sha256=whole)


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
