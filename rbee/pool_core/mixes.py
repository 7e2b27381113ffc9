"""The files that a model with adapters is made of, and whether they go together. Pure."""

from collections.abc import Iterable, Sequence

from rbee.errors import InvalidRequest
from rbee.wire.catalog import ModelFile, ModelKind
from rbee.wire.mixes import HINT, PLUS


def name_of(base: ModelFile, adapters: Sequence[ModelFile]) -> str:
    """Return what the mix is called."""
    return PLUS.join(file.id for file in (base, *adapters))


def files_of(name: str, files: Iterable[ModelFile]) -> tuple[ModelFile, ...]:
    """Return the base and the adapters that ``name``, made by ``name_of``, means; those that are gone are left out.

    Nothing, where the base is.
    """
    here = {file.id: file for file in files}
    base, *adapters = name.split(PLUS)
    if base not in here:
        return ()
    return (here[base], *(here[each] for each in adapters if each in here))


def check(base: ModelFile, adapters: Sequence[ModelFile]) -> None:
    """
    Raises:
        InvalidRequest: the base is an adapter itself, or something over it is none, or was made for another model.
    """
    if base.kind is ModelKind.ADAPTER:
        raise InvalidRequest(
            f"{base.id} is an adapter of {base.architecture} models, and no model",
            hint=f"--model <base>{PLUS}{base.id}",
        )
    for adapter in adapters:
        if adapter.kind is not ModelKind.ADAPTER:
            raise InvalidRequest(f"{adapter.id} is a model, and no adapter for {base.id}", hint=HINT)
        if adapter.architecture != base.architecture:
            raise InvalidRequest(
                f"{adapter.id} is an adapter of {adapter.architecture} models, {base.id} is of {base.architecture}",
                hint="rbee-hive models list shows what each is for",
            )
        _check_size(base, adapter)


def _check_size(base: ModelFile, adapter: ModelFile) -> None:
    """Hold what the adapter's tensors say of its model against ``base``, as far as both say something."""
    width = (adapter.embedding_length, base.embedding_length)
    if all(width) and width[0] != width[1]:
        raise InvalidRequest(
            f"{adapter.id} is an adapter of models with vectors of {width[0]}, {base.id} has vectors of {width[1]}",
            hint="an adapter fits the one model that it was made from",
        )
    if base.layers and adapter.layers > base.layers:
        raise InvalidRequest(
            f"{adapter.id} is an adapter of models with {adapter.layers} layers or more, {base.id} has {base.layers}",
            hint="an adapter fits the one model that it was made from",
        )
