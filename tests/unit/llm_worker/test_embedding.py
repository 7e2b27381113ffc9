"""Vectors and scores from the real llama.cpp, of encoders that are small."""

import asyncio
import base64
import math
import struct
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gguf
import pytest

from rbee.errors import ContextTooLong, InvalidRequest
from rbee.llm_worker.model_engine import ModelEngine
from rbee.wire.events import JobEvent, Score, Started, StopReason, Vector
from rbee.wire.inference import InferenceRequest
from rbee.wire.jobs import Work
from rbee.wire.workers import Kv
from tests.assets import tiny_gguf
from tests.assets.kinds import ENCODER_WIDTH
from tests.unit.llm_worker.asking import all_of, end, told, until

Make = Callable[..., ModelEngine]
KV = (Kv.F16, Kv.Q8_0)


def embed(texts: Sequence[str], **wanted: Any) -> InferenceRequest:
    return InferenceRequest(work=Work.EMBED, inputs=tuple(texts), **wanted)


async def run(engine: ModelEngine, request: InferenceRequest, job: str = "job") -> list[JobEvent]:
    prompt = await asyncio.to_thread(engine.prepare, request)
    return await all_of(told(engine, job, prompt))


def vectors(events: Sequence[JobEvent]) -> list[tuple[float, ...]]:
    return [struct.unpack(f"<{ENCODER_WIDTH}f", base64.b64decode(e.data)) for e in events if isinstance(e, Vector)]


def alike(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_texts_become_vectors_of_length_one(engine_of: Make, encoder: Path) -> None:
    events = await run(engine_of(encoder), embed(["a llama", "b", "c d e"]))
    assert isinstance(events[0], Started)
    found = [event for event in events if isinstance(event, Vector)]
    assert [each.index for each in found] == [0, 1, 2]
    assert all(math.sqrt(sum(x * x for x in vector)) == pytest.approx(1) for vector in vectors(events))
    last = end(events)
    assert (last.tokens_in, last.tokens_out) == (sum(each.tokens for each in found), 0)
    assert last.stop_reason is StopReason.EOS


async def test_a_text_means_the_same_alone_and_among_others(engine_of: Make, encoder: Path) -> None:
    engine = engine_of(encoder)
    texts = [f"{letter} {letter} x" * (1 + n % 3) for n, letter in enumerate("abcdefghijklmnopqrstuvwxyz" * 4)]
    together = vectors(await run(engine, embed(texts)))
    assert len(together) == len(texts)
    for n in (0, 17, 103):
        (alone,) = vectors(await run(engine, embed([texts[n]])))
        assert alike(together[n], alone) > 0.9999
    assert alike(together[0], together[1]) < 0.99


async def test_documents_are_scored_by_a_query(engine_of: Make, ranker: Path) -> None:
    request = InferenceRequest(work=Work.RERANK, query="what", inputs=("a b", "c d e", "f"))
    events = await run(engine_of(ranker), request)
    scores = [event for event in events if isinstance(event, Score)]
    assert [each.index for each in scores] == [0, 1, 2]
    assert len({each.score for each in scores}) == 3
    other = await run(engine_of(ranker), InferenceRequest(work=Work.RERANK, query="x", inputs=("a b",)))
    assert [e.score for e in other if isinstance(e, Score)] != [scores[0].score]


async def test_a_text_that_is_too_long_is_named(engine_of: Make, encoder: Path) -> None:
    engine = engine_of(encoder)
    with pytest.raises(ContextTooLong, match=r"inputs\[1\] is \d+ tokens, tiny here reads 512 at once"):
        engine.prepare(embed(["a", "a " * 600]))


def test_each_model_does_its_own_work(engine_of: Make, encoder: Path, ranker: Path, tiny: Path) -> None:
    wrong = [
        (tiny, embed(["a"]), "a model to generate, not to embed"),
        (encoder, InferenceRequest(prompt="a"), "a model to embed, not to generate"),
        (ranker, embed(["a"]), "a model to rerank, not to embed"),
    ]
    for path, request, said in wrong:
        with pytest.raises(InvalidRequest, match=said):
            engine_of(path).prepare(request)


class Watched:
    """Notes each turn of a real embedder: how long its texts are. The first turn waits until ``go_on``."""

    def __init__(self, engine: ModelEngine, monkeypatch: pytest.MonkeyPatch, note: Callable[[], None]) -> None:
        self.turns: list[list[int]] = []
        self.entered, self.go_on = threading.Event(), threading.Event()
        embedder = engine._context
        embed_for_real = embedder.embed  # type: ignore[union-attr]

        def embed(texts: Sequence[Sequence[int]]) -> list[Sequence[float]]:
            note()
            self.turns.append([len(each) for each in texts])
            self.entered.set()
            self.go_on.wait(20)
            return list(embed_for_real(texts))

        monkeypatch.setattr(embedder, "embed", embed)


async def test_long_jobs_take_turns_with_short_ones(
    engine_of: Make, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(encoder, slots=2)
    watched = Watched(engine, monkeypatch, note=lambda: None)
    order: list[str] = []

    async def ask(job: str, count: int) -> None:
        await run(engine, embed(["a b c"] * count), job)
        order.append(job)

    long = asyncio.ensure_future(ask("long", 2000))
    await asyncio.to_thread(watched.entered.wait, 20)
    short = asyncio.ensure_future(ask("short", 1))
    await until(lambda: len(engine._desk._waiting) == 1)
    watched.go_on.set()
    await asyncio.gather(long, short)
    assert order == ["short", "long"]


async def test_one_that_is_cancelled_ends_between_two_steps(
    engine_of: Make, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(encoder)
    watched = Watched(engine, monkeypatch, note=lambda: None)
    events = told(engine, "a", engine.prepare(embed(["a b c"] * 2000)))
    assert isinstance(await anext(events), Started)
    engine.cancel("a")
    watched.go_on.set()
    rest = await all_of(events)
    assert end(rest).stop_reason is StopReason.CANCELLED
    assert len(vectors(rest)) < 2000
    assert len(vectors(await run(engine, embed(["a"])))) == 1


async def test_a_decoder_embeds_as_well_and_its_cache_is_as_asked_for(engine_of: Make, tmp_path: Path) -> None:
    path = tiny_gguf(tmp_path / "embedder.gguf", heads=2, pooling=gguf.PoolingType.LAST)
    usual, small = [vectors(await run(engine_of(path, kv=kv, slots=4), embed(["a llama", "b c"]))) for kv in KV]
    assert all(alike(*pair) > 0.99 and pair[0] != pair[1] for pair in zip(usual, small, strict=True))
    assert alike(*usual) < 0.99


async def test_a_turn_is_a_few_batches_or_one_text_that_is_longer(
    engine_of: Make, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(encoder, batch=16)
    watched = Watched(engine, monkeypatch, note=lambda: None)
    watched.go_on.set()
    events = await run(engine, embed(["a " * 28] * 3 + ["a " * 200] + ["a"] * 4))
    assert len(vectors(events)) == 8
    assert watched.turns == [[30, 30], [30], [202], [3, 3, 3, 3]]


async def test_the_next_in_turn_is_not_passed_over_when_one_ends(
    engine_of: Make, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(encoder, batch=16, slots=3)
    watched = Watched(engine, monkeypatch, note=lambda: None)
    lengths = {"b": 41, "c": 42}  # each text is a turn
    jobs = [asyncio.ensure_future(run(engine, embed(["a " * 38] * 2), "a"))]
    await asyncio.to_thread(watched.entered.wait, 20)
    jobs += [asyncio.ensure_future(run(engine, embed(["a " * (lengths[job] - 2)] * 3), job)) for job in "bc"]
    await until(lambda: len(engine._desk._waiting) == 2)
    waiting = [lengths[work.job] for work in engine._desk._waiting]
    watched.go_on.set()
    await asyncio.gather(*jobs)
    assert [turn for (turn,) in watched.turns] == [40, 40, *waiting * 3]


async def test_who_waits_for_a_turn_does_not_stand_still(
    engine_of: Make, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(encoder, batch=16, slots=3)
    seen: list[set[float]] = []
    watched = Watched(engine, monkeypatch, lambda: seen.append({s.progress_s for s in engine.activity if s.busy}))
    jobs = [asyncio.ensure_future(run(engine, embed(["a " * 38] * 20), job)) for job in "abc"]
    await until(lambda: len(engine._desk._known) == 3)
    watched.go_on.set()
    await asyncio.gather(*jobs)
    assert [len(each) for each in seen[-40:]] == [1] * 40  # all three have seen the same turn end


async def test_what_reads_texts_with_a_memory_starts_each_of_them_anew(engine_of: Make, tmp_path: Path) -> None:
    engine = engine_of(tiny_gguf(tmp_path / "decoder.gguf", pooling=gguf.PoolingType.LAST))
    (before,) = vectors(await run(engine, embed(["a llama"])))
    await run(engine, embed(["something else altogether"] * 3))
    (after,) = vectors(await run(engine, embed(["a llama"])))
    assert after == before
