"""A model with adapters (LoRA) over it, by name: ``smollm2+pirate``.

A ``+`` is in no model's name, so it can only mean this. What comes first is the base, of which a worker reads the
weights; the order of the adapters makes no difference to the answers, but is a part of the name.
"""

from rbee.errors import InvalidRequest
from rbee.wire.fields import NAME

PLUS = "+"
MOST_ADAPTERS = 8
HINT = f"<base>{PLUS}<adapter>, both as rbee-hive models list calls them"


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
        raise InvalidRequest(f"model is {name[:100]!r}, of which {wrong[:63]!r} names no adapter", hint=HINT)
    if len(set(adapters)) < len(adapters) or base in adapters or len(adapters) > MOST_ADAPTERS:
        raise InvalidRequest(f"model is {name[:100]!r}, expected 1..{MOST_ADAPTERS} different adapters", hint=HINT)
    return base, tuple(adapters)


def is_mix(name: str) -> bool:
    """Say whether ``name`` is of a model with adapters, as far as its form goes."""
    base, plus, _ = name.partition(PLUS)
    return bool(plus) and NAME.fullmatch(base) is not None
