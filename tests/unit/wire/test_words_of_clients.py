"""Each word that an official client can say, and what becomes of it here: a new version of one shows what is new.

A word is honoured (the request that is read differs), idle (it does not, and no answer would) or refused by its name.
"""

from collections.abc import Sequence
from typing import Any

import pytest

from rbee.errors import InvalidRequest
from tests.unit.wire.words import anthropic, ollama, openai, responses
from tests.unit.wire.words.table import Table

TABLES = (*openai.TABLES, *responses.TABLES, *anthropic.TABLES, *ollama.TABLES)


def each(words: str) -> Sequence[Any]:
    return [
        pytest.param(table, name, value, id=f"{table.name}: {name}")
        for table in TABLES
        for name, value in getattr(table, words).items()
    ]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_what_becomes_of_each_word_is_known(table: Table) -> None:
    listed = [*table.honoured, *table.idle, *table.refused]
    assert sorted(listed) == sorted({*table.said, *table.also})


@pytest.mark.parametrize(("table", "name", "value"), each("honoured"))
def test_a_word_that_is_honoured_changes_the_request(table: Table, name: str, value: Any) -> None:
    assert table.read({name: value}) != table.read({})


@pytest.mark.parametrize(("table", "name", "value"), each("idle"))
def test_a_word_that_is_idle_changes_nothing(table: Table, name: str, value: Any) -> None:
    assert table.read({name: value}) == table.read({})


@pytest.mark.parametrize(("table", "name", "value"), each("refused"))
def test_a_word_that_is_refused_is_named(table: Table, name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        table.read({name: value})
    (found,) = caught.value.details["fields"]
    assert name in found["field"].replace("[", ".").split(".") or repr(value) in str(found).replace('"', "'")
