"""A model with adapters (LoRA) over it, by name: ``smollm2+pirate``. Pure.

A ``+`` is in no model's name, so it can only mean this. What comes first is the base, of which a worker reads the
weights; the order of the adapters makes no difference to the answers, but is a part of the name.
"""

from collections.abc import Iterable, Sequence

from rbee.errors import InvalidRequest
from rbee.wire.catalog import ModelFile, ModelKind
from rbee.wire.fields import NAME

PLUS = "+"
MOST_ADAPTERS = 8


def parts_of(name: str) -> tuple[str, tuple[str, ...]]:
    """Return the base that ``name`` says, and its adapters. Whatever is no mix stands for itself: a path may have a +.

    Raises:
        InvalidRequest: an adapter is empty or doubled, or there are too many.
    """
    base, *adapters = name.split(PLUS)
    if not adapters or not NAME.fullmatch(base):
        return name, ()
    wrong = next((each for each in adapters if not NAME.fullmatch(each)), None)
    if wrong is not None:
        raise InvalidRequest(f"model is {name[:100]!r}, of which {wrong[:63]!r} names no adapter", hint=_HINT)
    if len(set(adapters)) < len(adapters) or base in adapters or len(adapters) > MOST_ADAPTERS:
        raise InvalidRequest(f"model is {name[:100]!r}, expected 1..{MOST_ADAPTERS} different adapters", hint=_HINT)
    return base, tuple(adapters)


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
            raise InvalidRequest(f"{adapter.id} is a model, and no adapter for {base.id}", hint=_HINT)
        if adapter.architecture != base.architecture:
            raise InvalidRequest(
                f"{adapter.id} is an adapter of {adapter.architecture} models, {base.id} is of {base.architecture}",
                hint="rbee-hive models list shows what each is for",
            )


_HINT = f"<base>{PLUS}<adapter>, both as rbee-hive models list calls them"
