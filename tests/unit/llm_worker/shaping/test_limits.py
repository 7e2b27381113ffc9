"""What a schema may cost: the limits it is read by, the trial, and what an answer may take as it goes on."""

import signal
import subprocess
import time
from typing import Any

import pytest
from llguidance import LLParserLimits

from rbee.adapters import process
from rbee.errors import InvalidRequest, NoCapacity, RbeeError, Timeout
from rbee.llm_worker.guidance import matcher, trial
from rbee.llm_worker.guidance.bounded import SECONDS
from rbee.llm_worker.guidance.rule import json_rule
from rbee.llm_worker.shape import Shape
from rbee.llm_worker.shaping import shape_of
from rbee.wire.jobs import Generation, Message, Role
from rbee.wire.tools import Tool
from tests.unit.llm_worker.shaping.vocabulary import Words, allowed

WORDS = Words()
MARK = "MARKER"
BYTES = [*(bytes([value]) for value in range(256)), b"<end>"]


def shape(schema: Any) -> Shape:
    return shape_of(Generation(prompt="hi", schema=schema), WORDS)


def named(count: int, kind: Any = True, first: int = 0) -> dict[str, Any]:
    return {"type": "object", "properties": {f"p{n}": kind for n in range(first, first + count)}}


def nested(depth: int) -> Any:
    schema: Any = {"type": "integer"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def chained(length: int) -> Any:
    """Objects in each other, by references: not deep to read, and deep to compile."""
    made = {f"d{n}": {"type": "object", "properties": {"x": {"$ref": f"#/$defs/d{n + 1}"}}} for n in range(length)}
    return {"$defs": {**made, f"d{length}": {"type": "integer"}}, "$ref": "#/$defs/d0"}


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"enum": ["x" * 1000] * 300}, "is 300910 bytes, expected at most 262144"),
        ({"enum": [0] * 300_000}, "is 300001 bytes or more"),
        (nested(32), "has more than 64 objects and lists in each other"),
        (nested(500), "has more than 64 objects and lists in each other"),
        (named(257), "has 257 properties in one object, expected at most 256"),
        ({"anyOf": [named(201)] * 5}, "has 1005 properties or more, expected at most 1000"),
        ({"type": "integer", "multipleOf": 999_983}, "has multipleOf 999983, expected at most 400"),
        ({"type": "number", "multipleOf": 4.01}, "has multipleOf 4.01, expected at most 400"),
    ],
)
def test_what_is_too_large_is_refused_before_it_is_looked_at(schema: Any, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=f"schema: {problem}") as caught:
        shape(schema)
    (found,) = caught.value.details["fields"]
    assert found["field"] == "schema" and "limits" in caught.value.hint


def test_the_schemas_of_tools_count_together() -> None:
    hi = (Message(role=Role.USER, content="hi"),)
    many = tuple(Tool(name=f"t{n}", parameters={"const": "x" * 100_000}) for n in range(3))
    with pytest.raises(InvalidRequest, match=r"tools\[2\].parameters: is 100012 bytes, with 200024 before it"):
        shape_of(Generation(messages=hi, tools=many), WORDS)


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": ["x" * 1000] * 250},
        nested(31),
        named(256),
        {"anyOf": [named(100, first=100 * n) for n in range(4)]},
        {"type": "integer", "multipleOf": 400, "minimum": 0, "maximum": 1_000_000},
        {"type": "number", "multipleOf": 0.25},
        chained(50),
    ],
    ids=["bytes", "nesting", "properties", "alternatives", "multiple", "fraction", "references"],
)
def test_what_is_within_the_limits_is_compiled(schema: Any) -> None:
    assert shape(schema).constraint is not None


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{"type": "integer", "multipleOf": step} for step in (397, 389, 6)]},
        {"allOf": [{"type": "string", "pattern": f".*a.{{{n}}}"} for n in range(20)]},
        chained(1000),
    ],
    ids=["multiples of all", "patterns that may exclude each other", "more references than there is stack"],
)
def test_what_compiles_for_ever_or_ends_the_process_is_refused_soon(schema: Any) -> None:
    began_s = time.perf_counter()
    with pytest.raises(InvalidRequest, match=f"schema: cannot be made sure of here: it takes more than {SECONDS} s"):
        shape(schema)
    assert time.perf_counter() - began_s < trial._WALL_S


def test_a_grammar_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shape({"const": "tried once"})
    monkeypatch.setattr(subprocess, "run", _failing(AssertionError("tried again")))
    shape({"const": "tried once"})


@pytest.mark.parametrize(
    ("failure", "raised"),
    [(OSError(11, "Resource temporarily unavailable"), NoCapacity), (subprocess.TimeoutExpired("x", 1), Timeout)],
)
def test_where_nothing_can_be_tried_that_is_told_and_can_be_tried_again(
    failure: Exception, raised: type[RbeeError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", _failing(failure))
    with pytest.raises(raised) as caught:
        shape({"const": raised.__name__})
    assert caught.value.retriable


@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGKILL])
def test_a_trial_that_somebody_else_ended_is_not_the_schemas_fault(
    ended_by: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "apart", lambda *_, **__: (-ended_by, ""))
    with pytest.raises(NoCapacity, match=f"ended by signal {int(ended_by)}"):
        shape({"const": ended_by.name})
    monkeypatch.undo()
    assert shape({"const": ended_by.name}).constraint is not None


def test_what_was_refused_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = {"allOf": [{"type": "string", "pattern": "a("}]}
    with pytest.raises(InvalidRequest) as first:
        shape(refused)
    monkeypatch.setattr(subprocess, "run", _failing(AssertionError("tried again")))
    with pytest.raises(InvalidRequest) as second:
        shape(refused)
    assert first.value.message == second.value.message


def _failing(error: BaseException) -> Any:
    def run(*_: Any, **__: Any) -> None:
        raise error

    return run


class Numbers(Words):
    """Also has every number below 20,000 as a word of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces += [str(number).encode() for number in range(10, 20_000)]
        self.vocabulary = len(self.pieces)


def test_what_may_come_first_is_found_out_before_the_answer_begins() -> None:
    schema = {"type": "integer", "allOf": [{"multipleOf": step} for step in (400, 397)]}
    assert shape(schema).constraint is not None
    with pytest.raises(InvalidRequest, match="schema: .* what may come first takes too much"):
        shape_of(Generation(prompt="hi", schema=schema), Numbers())


def test_an_answer_for_which_too_much_may_follow_fails_by_the_schemas_fault_and_soon() -> None:
    constraint = shape({"anyOf": [named(100, {"const": MARK}, 100 * n) for n in range(9)]}).constraint
    assert constraint is not None
    with pytest.raises(InvalidRequest, match="takes too much to find out") as caught:
        constraint.take(WORDS.tokens_of("{")[0])
    assert MARK not in repr(caught.value) and caught.value.hint


@pytest.mark.parametrize("limit", ["step_max_items", "step_lexer_fuel", "max_lexer_states", "max_items_in_row"])
def test_whichever_limit_an_answer_comes_to_is_known_as_one(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matcher, "_LIMITS", LLParserLimits(verbose_errors=False, **{limit: 5}))
    made = matcher.matcher_of(
        matcher.tokenizer_of(BYTES, silent=frozenset({256}), ends=[256]), "start: " + json_rule({})
    )
    made.compute_bitmask()
    for value in b'{"a":[1,2,{"b":"c"}]}':
        made.consume_token(value)
        made.compute_bitmask()
    assert made.is_error() and matcher.too_much(made), made.get_error()


def test_what_may_not_follow_is_no_limit_whatever_it_says() -> None:
    pieces = [*BYTES[:256], b"lexer error: too many", b"<end>"]
    made = matcher.matcher_of(matcher.tokenizer_of(pieces, silent=frozenset({257}), ends=[257]), "start: /x/\n")
    made.consume_token(256)
    assert "too many" in made.get_error() and not matcher.too_much(made)


def test_a_failure_repeats_nothing_of_the_answer() -> None:
    made = shape({"type": "object", "properties": {MARK: {"const": MARK}}, "additionalProperties": False})
    assert made.constraint is not None
    for token in WORDS.tokens_of(f'{{"{MARK}":"{MARK}"'):
        assert token in allowed(made, WORDS)
        made.constraint.take(token)
    with pytest.raises(RbeeError, match="the answer left its grammar") as caught:
        made.constraint.take(WORDS.tokens_of(MARK)[0])
    assert MARK not in repr(caught.value) + caught.value.message + str(caught.value.details)
