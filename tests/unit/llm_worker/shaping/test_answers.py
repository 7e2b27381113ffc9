"""Schemas nobody thought of, through the whole engine: the real llama.cpp on the tiny model, held to each of them."""

import json
import random
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from rbee.llm_worker.model_engine import ModelEngine
from rbee.llm_worker.schema import normalised
from rbee.wire.events import StopReason
from tests.unit.llm_worker.asking import end, run, text

_LEAVES: tuple[Callable[[random.Random], Any], ...] = (
    lambda rng: {"type": rng.choice(("boolean", "null"))},
    lambda rng: {"type": "integer", "minimum": rng.randint(-50, 0), "maximum": rng.randint(1, 999)},
    lambda rng: {"type": "integer", "minimum": 0, "maximum": 999, "multipleOf": rng.randint(1, 60)},
    lambda rng: {"type": "number", "minimum": 0, "maximum": 1, "multipleOf": 0.25},
    lambda rng: {"type": "string", "maxLength": rng.randint(0, 6), "nullable": rng.random() < 0.3},
    lambda rng: {"type": "string", "pattern": rng.choice(("^[a-c]{1,3}$", "^\\d\\d:\\d\\d$", "^(ab|c)?$"))},
    lambda rng: {"type": "string", "format": rng.choice(("date", "ipv4"))},
    lambda rng: {"enum": rng.sample([1, "a", None, True, [], {"x": "é"}], rng.randint(1, 4))},
)


def schema_of(rng: random.Random, depth: int) -> dict[str, Any]:
    """Return a schema whose answers are short."""
    kind = rng.choice(("object", "array", "anyOf")) if depth else ""
    inner = [schema_of(rng, depth - 1) for _ in range(rng.randint(1, 3))] if depth else []
    if kind == "object":
        named = dict(zip("abc", inner, strict=False))
        needed = [name for name in named if rng.random() < 0.7]
        made = {"type": "object", "properties": named, "required": needed, "minProperties": len(needed)}
        return {**made, "additionalProperties": False}
    if kind == "array":
        return {"type": "array", "items": inner[0], "minItems": rng.randint(0, 1), "maxItems": 2}
    return {"anyOf": inner} if kind else dict(rng.choice(_LEAVES)(rng))


@pytest.mark.usefixtures("untried")
async def test_what_ends_validates_whatever_the_schema_is(engine_of: Callable[..., ModelEngine]) -> None:
    engine, rng, ended = engine_of(), random.Random(20), 0
    for number in range(200):
        schema = schema_of(rng, rng.randint(0, 3))
        events = await run(
            engine, f"job-{number}", schema=schema, seed=number, temperature=1.0, max_tokens=300, ignore_eos=False
        )
        assert end(events).stop_reason in (StopReason.EOS, StopReason.MAX_TOKENS), schema
        if end(events).stop_reason is StopReason.EOS:
            ended += 1
            jsonschema.validate(json.loads(text(events)), normalised(schema))
    assert ended > 180
