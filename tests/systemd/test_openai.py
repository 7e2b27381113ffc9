"""The official client, pointed at the queen, sees what it would see anywhere."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.systemd.lab import QUEEN, Lab


@pytest.fixture(scope="module")
def client(shared: Lab) -> Iterator[openai.OpenAI]:
    with shared.network(), openai.OpenAI(base_url=f"{QUEEN}/v1", api_key=shared.token or "none", max_retries=0) as made:
        yield made


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert {"smollm2", "tiny"} <= {model.id for model in client.models.list()}


def test_a_chat_is_answered_and_the_worker_spawned_for_it(shared: Lab, client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="smollm2",
        messages=[{"role": "user", "content": "What is a llama?"}],
        max_tokens=24,
        temperature=0,
        seed=1,
    )
    choice = answer.choices[0]
    assert choice.message.role == "assistant"
    assert "llama" in (choice.message.content or "").lower()
    assert choice.finish_reason in ("stop", "length")
    assert answer.usage is not None
    assert 1 <= answer.usage.completion_tokens <= 24
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert [worker["model"] for worker in shared.hive_json("worker", "list")] == ["smollm2"]


def test_a_streamed_chat_says_the_same(client: openai.OpenAI) -> None:
    wanted: dict[str, Any] = {
        "model": "smollm2",
        "messages": [{"role": "user", "content": "Count."}],
        "max_tokens": 16,
        "temperature": 0,
        "extra_body": {"ignore_eos": True},
    }
    whole = client.chat.completions.create(**wanted).choices[0].message.content
    chunks = list(client.chat.completions.create(**wanted, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["length"]
    assert chunks[-1].usage is not None
    assert len(chunks) > 3


def test_json_by_a_schema_is_tried_and_held_to_within_the_workers_sandbox(shared: Lab, client: openai.OpenAI) -> None:
    wanted: dict[str, Any] = {"type": "object", "properties": {"legs": {"enum": [2, 4]}}, "required": ["legs"]}
    wanted["additionalProperties"] = False
    for_ever = {"allOf": [{"type": "integer", "multipleOf": step} for step in (397, 389, 383)]}

    def asked(schema: dict[str, Any]) -> str | None:
        answer = client.chat.completions.create(
            model="smollm2",
            messages=[{"role": "user", "content": "How many legs has a llama?"}],
            temperature=0,
            response_format={"type": "json_schema", "json_schema": {"name": "legs", "schema": schema}},
        )
        return answer.choices[0].message.content

    assert json.loads(asked(wanted) or "")["legs"] in (2, 4)
    (worker,) = [each for each in shared.hive_json("worker", "list") if each["model"] == "smollm2"]
    with pytest.raises(openai.BadRequestError, match="it takes more than 2 s, too much memory"):
        asked(for_ever)
    assert json.loads(asked(wanted) or "")["legs"] in (2, 4)
    (after,) = [each for each in shared.hive_json("worker", "list") if each["model"] == "smollm2"]
    assert (after["pid"], after["restarts"]) == (worker["pid"], 0)


def test_completions(client: openai.OpenAI) -> None:
    wanted: dict[str, Any] = {"model": "tiny", "prompt": "abc", "max_tokens": 5, "temperature": 0}
    wanted["extra_body"] = {"ignore_eos": True}
    answer = client.completions.create(**wanted)
    assert answer.choices[0].finish_reason == "length"
    streamed = client.completions.create(**wanted, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed if chunk.choices) == answer.choices[0].text


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-99", messages=[{"role": "user", "content": "hi"}])
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 9},
        {"max_tokens": 0},
        {"n": 99},
        {"stop": ["a"] * 5},
        {"tools": [{"type": "custom", "custom": {"name": "f"}}]},
    ],
    ids=str,
)
def test_what_cannot_be_done_is_refused_and_never_ignored(client: openai.OpenAI, wrong: dict[str, object]) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "hi"}], extra_body=wrong)
    assert next(iter(wrong)) in str(caught.value.message)


def test_a_prompt_longer_than_the_context_says_both_numbers(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="tiny", prompt="word " * 20_000, max_tokens=4)
    assert caught.value.code == "context_too_long"
    assert any(character.isdigit() for character in caught.value.message)


def test_without_the_token_nothing_is_answered(shared: Lab) -> None:
    with (
        shared.network(),
        openai.OpenAI(base_url=f"{QUEEN}/v1", api_key="wrong" * 10, max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()
