"""Messages that say much the same each time."""

from typing import Any, Generic, TypeVar

from rbee.wire import codec, quick

T = TypeVar("T")


class Again(Generic[T]):
    """Reads as ``codec.from_dict`` does; what a sender said in the same words the last time is not read anew.

    Fields that are not known are passed over: whoever tells of itself may be newer than who listens.

    Args:
        kind: a dataclass that checks each field by itself.
        worth: the fields that are long and seldom change; the others are read in any case.
    """

    def __init__(self, kind: type[T], worth: frozenset[str]) -> None:
        self._kind = kind
        self._worth = worth
        self._before: dict[str, tuple[dict[str, Any], T]] = {}

    def read(self, sender: str, data: Any) -> T:
        """Raises InvalidRequest as ``from_dict`` does."""
        raw, made = self._before.get(sender, ({}, None))
        known = {name: getattr(made, name) for name in raw if isinstance(data, dict) and data.get(name) == raw[name]}
        value = self._like(data, known) if known else codec.from_dict(self._kind, data, lenient=True)
        self._before[sender] = {name: data[name] for name in self._worth if name in data}, value
        return value

    def forget(self, sender: str) -> None:
        self._before.pop(sender, None)

    def _like(self, data: dict[str, Any], known: dict[str, Any]) -> T:
        readers = quick.fields_of(self._kind)  # type: ignore[arg-type]  # classes are hashable
        try:
            unread = readers.keys() - known.keys()
            new = {name: readers[name](value, True) for name, value in data.items() if name in unread}
            return self._kind(**new, **known)
        except (quick.Odd, TypeError):
            return codec.from_dict(self._kind, data, lenient=True)
