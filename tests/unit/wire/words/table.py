"""What a client may say in one place, and what becomes of it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, get_type_hints

Words: TypeAlias = Mapping[str, Any]

USER = {"role": "user", "content": "hi"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
SAMPLED: Words = {"frequency_penalty": 1, "presence_penalty": 1, "seed": 7, "temperature": 0.5, "top_p": 0.5}


@dataclass(frozen=True, kw_only=True)
class Table:
    """What may be said in one place.

    Attributes:
        said: all that the client's type has.
        base: a right value for the place.
        whole: the body in which that stands.
        also: words of ours that the type has not, or that it has no more.
    """

    name: str
    said: Iterable[str]
    parse: Callable[[Any], Any]
    base: Words
    whole: Callable[[Words], Any] = dict
    honoured: Words = field(default_factory=dict)
    idle: Words = field(default_factory=dict)
    refused: Words = field(default_factory=dict)
    also: frozenset[str] = frozenset()

    def read(self, more: Words) -> Any:
        return self.parse(self.whole({**self.base, **more}))


def typed(kind: Any) -> set[str]:
    return set(get_type_hints(kind))


def fields(kind: Any) -> set[str]:
    return set(kind.model_fields)
