"""What ends under a schema validates, whatever the model would rather say; what cannot be made sure of is refused."""

import enum
import json
import random
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from rbee.errors import InvalidRequest
from rbee.llm_worker.schema import normalised
from rbee.llm_worker.shape import Shape
from rbee.llm_worker.shaping import shape_of
from rbee.wire.jobs import Generation
from tests.unit.llm_worker.shaping.vocabulary import Words, allowed, babble, say

WORDS = Words()


def shape(schema: Any) -> Shape:
    return shape_of(Generation(prompt="hi", schema=schema), WORDS)


def small(name: str) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({"type": st.just(name)})


TEXTS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), max_size=4) | st.sampled_from(
    ["\n", '"']
)
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | TEXTS


def _between(kind: str, low: str, high: str) -> Any:
    return lambda least, more: {"type": kind, low: least, high: least + more}


LEAVES = st.one_of(
    small("boolean"),
    small("null"),
    small("integer"),
    st.builds(lambda step: {"type": "integer", "multipleOf": step}, st.integers(1, 400)),
    st.just({"type": "string", "format": "date"}),
    st.builds(_between("integer", "minimum", "maximum"), st.integers(-99, 99), st.integers(0, 50)),
    st.builds(_between("string", "minLength", "maxLength"), st.integers(0, 3), st.integers(0, 5)),
    st.builds(lambda values: {"enum": values}, st.lists(SCALARS, min_size=1, max_size=4)),
    st.builds(lambda value: {"const": value}, SCALARS),
    st.just({"type": "string", "pattern": "^[a-c]{1,3}$"}),
    st.just({"type": "string", "maxLength": 4, "nullable": True}),
)
NAMES = st.sampled_from(["a", "b", "c", 'q"uote', "ü"])


def _object(properties: dict[str, Any], needed: list[str], closed: bool) -> dict[str, Any]:
    required = [name for name in dict.fromkeys(needed) if name in properties]
    made = {"type": "object", "properties": properties, "required": required, "minProperties": len(required)}
    return made | ({"additionalProperties": False} if closed else {"additionalProperties": {"type": "integer"}})


def _array(items: Any, low: int, more: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": low, "maxItems": low + more}


SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(_object, st.dictionaries(NAMES, inner, max_size=3), st.lists(NAMES, max_size=3), st.booleans()),
        st.builds(_array, inner, st.integers(0, 2), st.integers(0, 2)),
        st.builds(lambda arms: {"anyOf": arms}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda inner: {"$defs": {"x": inner}, "$ref": "#/$defs/x"}, LEAVES),
    ),
    max_leaves=6,
)


@pytest.mark.usefixtures("untried")
@given(SCHEMAS, st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_whatever_ends_under_a_schema_validates(schema: dict[str, Any], seed: int) -> None:
    schema = {"type": "object", "properties": {"v": schema}, "required": ["v"], "additionalProperties": False}
    if "$ref" in json.dumps(schema):  # a reference is to the root
        schema["$defs"] = {"x": {"type": "integer"}}
    said = babble(shape(schema), WORDS, random.Random(seed))
    target(0 if said is None else 1)
    if said is not None:
        jsonschema.validate(json.loads(said), normalised(schema))


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=0, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str | None


class Node(BaseModel):
    label: Annotated[str, Field(max_length=3)]
    children: "list[Node]"


class House(BaseModel):
    colour: Colour
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]] = Field(max_length=2)
    area: float
    tree: Node | None
    tags: tuple[int, bool]


@given(st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_what_pydantic_makes_is_obeyed(seed: int) -> None:
    schema = House.model_json_schema()
    said = babble(shape(schema), WORDS, random.Random(seed))
    if said is not None:
        House.model_validate_json(said)


def test_the_strict_form_of_the_openai_client_is_obeyed() -> None:
    from openai.lib._pydantic import to_strict_json_schema

    class Step(BaseModel):
        explanation: str
        output: int | None

    class Answer(BaseModel):
        steps: list[Step]
        verdict: Literal["yes", "no"]

    schema = to_strict_json_schema(Answer)
    assert say(shape(schema), WORDS, '{"steps":[{"explanation":"é","output":null}],"verdict":"no"}')
    assert not say(shape(schema), WORDS, '{"steps":[],"verdict":"perhaps"}')
    assert not say(shape(schema), WORDS, '{"steps":[]}')


def test_blanks_are_not_said() -> None:
    assert not say(shape({"type": "array"}), WORDS, "[ ]")
    assert not say(shape({"type": "array"}), WORDS, " []")
    assert say(shape({"type": "array"}), WORDS, "[1,2]")


def test_where_nothing_may_follow_the_end_has_to() -> None:
    one = shape({"const": True})
    assert one.constraint is not None
    for token in WORDS.tokens_of("true"):
        one.constraint.take(token)
    assert allowed(one, WORDS) == [2, 3]


def test_a_property_is_recognised_however_it_is_spelled() -> None:
    wanted = shape({"type": "object", "properties": {"a": {"type": "integer"}}})
    assert not say(wanted, WORDS, '{"\\u0061":"x"}')


def test_properties_come_in_the_order_of_the_schema_and_once() -> None:
    schema = {"type": "object", "properties": {"b": {"type": "integer"}, "a": {"type": "integer"}}}
    assert say(shape(schema), WORDS, '{"b":1,"a":2,"c":3}')
    assert not say(shape(schema), WORDS, '{"a":1,"b":2}')
    assert not say(shape(schema), WORDS, '{"b":1,"b":2}')


def test_an_answer_does_not_end_in_the_middle() -> None:
    one = shape({"type": "object"})
    assert one.constraint is not None
    one.constraint.take(WORDS.tokens_of("{")[0])
    assert not {2, 3} & set(allowed(one, WORDS))


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"type": "object", "properties": {"a": {"not": {"type": "string"}}}}, "not"),
        ({"type": "array", "contains": {"type": "integer"}}, "contains"),
        ({"if": {"type": "string"}, "then": {"minLength": 3}}, "if"),
        ({"type": "object", "propertyNames": {"pattern": "a"}}, "propertyNames"),
        ({"type": "object", "dependentRequired": {"a": ["b"]}}, "dependentRequired"),
        ({"type": "object", "unevaluatedProperties": False}, "unevaluatedProperties"),
        ({"type": "string", "format": "the-moon"}, "the-moon"),
        ({"type": "string", "pattern": "a(?=b)"}, "look-around"),
        ({"$ref": "#/$defs/nowhere"}, "nowhere"),
        ({"$ref": "https://example.com/schema"}, "example.com"),
        ({"type": "frob"}, "frob"),
        ({"type": "array", "minItems": 2, "maxItems": 1}, "minItems"),
        ({"x-guidance": {"lenient": True}, "type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, "oneOf"),
        ({"type": "object", "minProperties": 3}, "minProperties"),
        ({"type": "object", "minProperties": 2, "required": ["a", "a"]}, "minProperties is 2, and 1 are required"),
        ({"type": "object", "minProperties": 1, "required": [{"a": 1}]}, "minProperties is 1, and 0 are required"),
        ({"enum": ["a", "\x1f"]}, "control character"),
        ({"$ref": "#/$defs/ñ中"}, "ñ中"),
    ],
)
def test_what_cannot_be_made_sure_of_is_refused_by_name(schema: Any, named: str) -> None:
    with pytest.raises(InvalidRequest, match=named) as caught:
        shape(schema)
    assert caught.value.details["fields"][0]["field"] == "schema"
    assert caught.value.hint
    assert "\n" not in caught.value.message and "%json" not in caught.value.message


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "uniqueItems": False},
        {"type": "array", "maxItems": 3.0},
        {"title": "T", "default": 1},
        {"type": "string", "format": "password", "writeOnly": True},
        {"type": "integer", "format": "int32"},
        {"type": "object", "minProperties": 1, "required": ["a"], "properties": {"a": {"type": "integer"}}},
    ],
)
def test_what_asks_for_nothing_is_accepted(schema: Any) -> None:
    assert shape(schema).constraint is not None


def test_a_property_may_be_called_like_a_keyword() -> None:
    schema = {"type": "object", "properties": {"nullable": {"type": "boolean"}, "uniqueItems": {"type": "integer"}}}
    assert normalised(schema) == schema
    assert say(shape(schema), WORDS, '{"nullable":true,"uniqueItems":3}')


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "string", "nullable": True}, "null"),
        ({"type": "string", "enum": ["a"], "nullable": True}, "null"),
        ({"type": "object", "properties": {"a": {"type": "integer", "nullable": True}}}, '{"a":null}'),
        ({"type": "array", "items": {"type": "integer", "nullable": True}}, "[1,null]"),
        ({"$defs": {"x": {"type": "integer"}}, "nullable": True, "$ref": "#/$defs/x"}, "null"),
        ({"$defs": {"x": {"type": "integer"}}, "nullable": True, "$ref": "#/$defs/x"}, "5"),
    ],
)
def test_nullable_is_null_as_well(schema: Any, said: str) -> None:
    assert say(shape(schema), WORDS, said)


def test_an_answer_by_a_schema_has_to_be_let_end() -> None:
    with pytest.raises(InvalidRequest, match="ignore_eos"):
        shape_of(Generation(prompt="hi", schema={"type": "object"}, ignore_eos=True), WORDS)
    assert shape_of(Generation(prompt="hi", ignore_eos=True), WORDS) == Shape()


def test_what_wants_no_shape_gets_none() -> None:
    assert shape_of(Generation(prompt="hi"), WORDS) == Shape()
