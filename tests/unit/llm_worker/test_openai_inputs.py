"""Embeddings and rerank, by the real engine on encoders that are small, through the official client."""

import math
from pathlib import Path

import openai
import pytest

from tests.assets.kinds import ENCODER_WIDTH
from tests.unit.llm_worker.conftest import Serve
from tests.unit.llm_worker.test_openai_routes import client


async def test_embeddings(serve: Serve, encoder: Path) -> None:
    async with serve(encoder) as worker, client(worker) as ai:
        packed = await ai.embeddings.create(model="tiny", input=["a llama", "b"])  # the client asks for base64
        plain = await ai.embeddings.create(model="tiny", input=["a llama", "b"], encoding_format="float")
        short = await ai.embeddings.create(model="tiny", input="a llama", dimensions=3)
        with pytest.raises(openai.BadRequestError, match=f"have {ENCODER_WIDTH}") as caught:
            await ai.embeddings.create(model="tiny", input="a llama", dimensions=ENCODER_WIDTH + 1)
        with pytest.raises(openai.BadRequestError, match="tokens"):
            await ai.embeddings.create(model="tiny", input=[1, 2])
    assert caught.value.param == "dimensions"
    assert [each.index for each in packed.data] == [0, 1]
    for one, other in zip(packed.data, plain.data, strict=True):
        assert len(one.embedding) == ENCODER_WIDTH
        assert one.embedding == pytest.approx(other.embedding)
    assert len(short.data[0].embedding) == 3
    assert math.hypot(*short.data[0].embedding) == pytest.approx(1, abs=1e-6)
    assert packed.usage.prompt_tokens == packed.usage.total_tokens > 2


async def test_a_text_longer_than_the_context_is_refused(serve: Serve, encoder: Path) -> None:
    async with serve(encoder, ctx=64) as worker, client(worker) as ai:
        with pytest.raises(openai.BadRequestError) as caught:
            await ai.embeddings.create(model="tiny", input=["a", "a " * 200])
    assert caught.value.code == "context_too_long"


async def test_rerank(serve: Serve, ranker: Path) -> None:
    asked = {"model": "tiny", "query": "a llama", "documents": ["b", "a llama", "c d e"], "return_documents": True}
    async with serve(ranker) as worker, worker.http.post("/v1/rerank", json=asked) as response:
        assert response.status == 200
        answer = await response.json()
    scores = [each["relevance_score"] for each in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    found = sorted((each["index"], each["document"]["text"]) for each in answer["results"])
    assert found == [(0, "b"), (1, "a llama"), (2, "c d e")]
    assert answer["usage"]["total_tokens"] > 0


async def test_what_an_encoder_is_not_for_is_refused(serve: Serve, encoder: Path) -> None:
    async with serve(encoder) as worker, client(worker) as ai:
        with pytest.raises(openai.BadRequestError, match="is a model to embed") as caught:
            await ai.completions.create(model="tiny", prompt="a")
    assert caught.value.param == "model"
