"""The official clients of three more dialects, pointed at the queen, see what they would see anywhere."""

from collections.abc import Iterator

import anthropic
import ollama
import openai
import pytest

from tests.systemd.lab import QUEEN, Lab

ASKED = "What is a llama?"


@pytest.fixture
def token(shared: Lab) -> Iterator[str]:
    with shared.network():
        yield shared.token or "none"


def test_responses_go_on_from_each_other(token: str) -> None:
    with openai.OpenAI(base_url=f"{QUEEN}/v1", api_key=token, max_retries=0) as client:
        first = client.responses.create(model="smollm2", input=ASKED, max_output_tokens=24, temperature=0)
        assert "llama" in first.output_text.lower()
        with client.responses.stream(
            model="smollm2", input="And then?", previous_response_id=first.id, max_output_tokens=8, temperature=0
        ) as stream:
            events = list(stream)
        assert events[-1].type in ("response.completed", "response.incomplete")
        second = events[-1].response
        assert second.output_text == "".join(e.delta for e in events if e.type == "response.output_text.delta")
        assert second.usage is not None
        assert first.usage is not None
        assert second.usage.input_tokens > first.usage.total_tokens, "it has read the first turn"
        assert client.responses.retrieve(first.id).output_text == first.output_text
        client.responses.delete(first.id)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(first.id)


def test_anthropics_client_is_answered(token: str) -> None:
    hello: list[anthropic.types.MessageParam] = [{"role": "user", "content": ASKED}]
    with anthropic.Anthropic(base_url=QUEEN, api_key=token, max_retries=0) as client:
        cold = {"temperature": 0}  # the API has it, the package no longer does
        whole = client.messages.create(model="smollm2", max_tokens=24, messages=hello, extra_body=cold)
        assert whole.content[0].type == "text"
        assert "llama" in whole.content[0].text.lower()
        with client.messages.stream(model="smollm2", max_tokens=24, messages=hello, extra_body=cold) as stream:
            assert "".join(stream.text_stream) == whole.content[0].text
        counted = client.messages.count_tokens(model="smollm2", messages=hello)
        read = whole.usage.input_tokens + (whole.usage.cache_read_input_tokens or 0)
        assert counted.input_tokens == read
        with pytest.raises(anthropic.NotFoundError):
            client.messages.create(model="gpt-99", max_tokens=1, messages=hello)


def test_ollamas_client_is_answered(token: str) -> None:
    with ollama.Client(QUEEN, headers={"Authorization": f"Bearer {token}"}) as client:
        assert {"smollm2", "tiny"} <= {model.model for model in client.list().models}
        hello = [{"role": "user", "content": ASKED}]
        options = {"num_predict": 24, "temperature": 0, "repeat_penalty": 1}
        whole = client.chat("smollm2:latest", hello, options=options)
        assert "llama" in (whole.message.content or "").lower()
        chunks = list(client.chat("smollm2", hello, options=options, stream=True))
        assert "".join(chunk.message.content or "" for chunk in chunks) == whole.message.content
        assert (chunks[-1].done, chunks[-1].eval_count) == (True, whole.eval_count)
        assert [model.model for model in client.ps().models] == ["smollm2"]
        assert (client.show("smollm2").modelinfo or {})["general.architecture"] == "llama"
        with pytest.raises(ollama.ResponseError, match="gpt-99"):
            client.chat("gpt-99", hello)
