"""Each word that an official client can say, and what becomes of it here: a new version of one shows what is new.

A word is honoured (the request that is read differs), idle (it does not, and no answer would) or refused by its name.
"""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbee.errors import InvalidRequest
from tests.unit.wire.words import anthropic, ollama, openai, responses
from tests.unit.wire.words.table import Table

WORDS = st.sampled_from(
    [
        "type",
        "name",
        "role",
        "content",
        "function",
        "format",
        "schema",
        "text",
        "id",
        "input",
        "arguments",
        "json_schema",
    ]
)
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


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
    | st.sampled_from(["function", "json_schema", "text", "\0", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_junk_is_refused_or_read_and_breaks_nothing(table: Table, data: st.DataObject) -> None:
    right = {**table.base, **table.honoured, **table.idle, **table.refused}
    names = data.draw(st.lists(st.sampled_from(sorted({*table.said, *table.also})), max_size=3))
    try:
        table.read({name: _spoilt(right[name], data) for name in names})
    except InvalidRequest as error:
        assert error.details["fields"]


def _spoilt(value: Any, data: st.DataObject) -> Any:
    """Return ``value`` with something in it replaced by junk."""
    if data.draw(st.booleans()) or not isinstance(value, dict | list) or not value:
        return data.draw(JUNK)
    if isinstance(value, list):
        return [_spoilt(each, data) for each in value]
    key = data.draw(st.sampled_from(sorted(value)))
    return {**value, key: _spoilt(value[key], data)}
