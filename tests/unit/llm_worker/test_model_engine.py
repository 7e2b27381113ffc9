"""The engine on the real llama.cpp with the tiny model; a fake one only where llama.cpp has to fail."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rbee.errors import BackendUnavailable, ContextTooLong, InvalidRequest, ModelLoadFailed
from rbee.llm_worker.answer import sampling_of
from rbee.llm_worker.desk import Work
from rbee.llm_worker.engine import Prompt
from rbee.llm_worker.model_engine import ModelEngine
from rbee.llm_worker.worker import make_engine
from rbee.wire.bodies import SEEDS
from rbee.wire.events import End, Failure, JobEvent, Started, StopReason, Token
from rbee.wire.inference import InferenceRequest
from rbee.wire.jobs import Message, Role
from rbee.wire.workers import Backend
from tests.assets import Template, tiny_gguf
from tests.unit.llm_worker.asking import end, request, run, slowed, text, told, until
from tests.unit.llm_worker.conftest import options
from tests.unit.llm_worker.fakes import FakeModel, loaded

Make = Callable[..., ModelEngine]


async def test_a_generation_starts_speaks_and_ends(engine_of: Make) -> None:
    events = await run(engine_of(), seed=7)
    assert events[0] == Started(worker="worker-cpu-0", model="tiny", seed=7, id="job-1")
    assert all(isinstance(event, Token) for event in events[1:-1])
    last = end(events)
    assert (last.tokens_in, last.tokens_out, last.stop_reason) == (7, 16, StopReason.MAX_TOKENS)
    assert last.ttft_ms > 0
    assert last.decode_ms > 0


async def test_token_numbers_rise_and_stay_below_the_count(engine_of: Make) -> None:
    events = await run(engine_of(), max_tokens=200, temperature=0.9, seed=5)
    numbers = [event.i for event in events if isinstance(event, Token)]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] <= end(events).tokens_out - 1


async def test_the_same_seed_gives_the_same_text_and_another_another(engine_of: Make) -> None:
    engine = engine_of()
    one, two, three = [text(await run(engine, temperature=1.0, seed=seed)) for seed in (1, 1, 2)]
    assert one == two
    assert one != three


async def test_greedy_needs_no_seed(engine_of: Make) -> None:
    engine = engine_of()
    assert text(await run(engine, temperature=0, seed=1)) == text(await run(engine, temperature=0, seed=2))


async def test_a_seed_that_was_not_given_is_chosen_and_reproduces(engine_of: Make) -> None:
    engine = engine_of()
    first = await run(engine, temperature=1.0)
    assert isinstance(first[0], Started)
    assert text(await run(engine, temperature=1.0, seed=first[0].seed)) == text(first)


async def test_another_engine_says_the_same(engine_of: Make) -> None:
    assert text(await run(engine_of(), seed=3)) == text(await run(engine_of(slots=2), seed=3))


async def test_a_split_model_is_read_by_its_paths_whatever_its_parts_are_called(
    engine_of: Make, tiny: Path, tmp_path: Path
) -> None:
    """Behind links, as in a Nix store, each has a name of its own."""
    first = tiny_gguf(tmp_path / "tiny.gguf", quantised=True, tensors_a_part=8)
    parts = [part.rename(tmp_path / f"{n}-{part.name}") for n, part in enumerate(sorted(tmp_path.iterdir()))]
    assert (len(parts), first.exists()) == (3, False)
    split = engine_of(parts)
    assert text(await run(split, temperature=0)) == text(await run(engine_of(tiny), temperature=0))


async def test_the_repeat_penalty_changes_what_is_said(engine_of: Make) -> None:
    engine = engine_of()
    plain = text(await run(engine, temperature=0, max_tokens=40))
    assert text(await run(engine, temperature=0, max_tokens=40, repeat_penalty=1.8)) != plain


async def test_ignoring_the_end_goes_on_to_the_limit_whatever_the_model_wants(engine_of: Make) -> None:
    engine = engine_of(ctx=512)
    babble: dict[str, Any] = {"max_tokens": 400, "temperature": 2.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    seeds = range(6)
    ended = [
        seed
        for seed in seeds
        if end(await run(engine, **babble, seed=seed, ignore_eos=False)).stop_reason is StopReason.EOS
    ]
    assert ended, "the model never wanted to end"
    last = end(await run(engine, **babble, seed=ended[0]))
    assert (last.tokens_out, last.stop_reason) == (400, StopReason.MAX_TOKENS)


async def test_text_never_splits_a_character(engine_of: Make) -> None:
    """The tiny model babbles in single bytes; what it says in pieces is what its bytes say as a whole."""
    engine = engine_of()
    said = await run(engine, max_tokens=300, temperature=1.5, seed=11)
    whole = text(said)
    assert whole.encode("utf-8").decode() == whole
    assert max(len(event.t) for event in said if isinstance(event, Token)) >= 1


async def test_a_stop_string_over_token_borders_ends_the_text_before_it(engine_of: Make) -> None:
    engine = engine_of()
    whole = text(await run(engine, temperature=0, max_tokens=60))
    stop = whole[20:25]
    events = await run(engine, temperature=0, max_tokens=60, stop=(stop,))
    assert end(events).stop_reason is StopReason.STOP
    assert text(events) == whole[: whole.find(stop)]


async def test_max_tokens_is_clipped_to_what_fits(engine_of: Make) -> None:
    last = end(await run(engine_of(ctx=64), max_tokens=1000, temperature=0))
    assert last.tokens_in + last.tokens_out <= 64
    assert last.stop_reason is StopReason.MAX_TOKENS


async def test_a_prompt_that_fills_the_context_leaves_room_for_one(engine_of: Make) -> None:
    engine = engine_of(ctx=64)
    assert end(await run(engine, prompt="a" * 61, max_tokens=9)).tokens_out == 1
    with pytest.raises(ContextTooLong, match=r"64 tokens.* 64 ") as caught:
        engine.prepare(request(prompt="a" * 62))
    assert caught.value.details == {"prompt_tokens": 64, "context_tokens": 64}


async def test_a_prompt_of_no_token_is_refused(engine_of: Make, tmp_path: Path) -> None:
    assert end(await run(engine_of(), prompt="")).tokens_in == 1
    engine = engine_of(tiny_gguf(tmp_path / "m.gguf", begins=False))
    with pytest.raises(InvalidRequest, match="the prompt is empty"):
        engine.prepare(request(prompt=""))


@pytest.mark.parametrize("temperature", [1e-7, 1e-38, 1e-42])
async def test_next_to_no_temperature_is_none(engine_of: Make, temperature: float) -> None:
    engine = engine_of()
    cold = text(await run(engine, temperature=0, max_tokens=40))
    assert text(await run(engine, temperature=temperature, max_tokens=40)) == cold


def test_no_seed_is_the_number_that_llama_takes_for_none() -> None:
    prompt = Prompt(request=request(), tokens=(5,), seed=SEEDS - 3, max_tokens=9, said=(7, 7, 7, 7))
    seeds = {
        sampling_of(Work(job="j", prompt=replace(prompt, said=(7,) * said), outlet=lambda _: None, asked_s=0.0)).seed
        for said in range(5)
    }
    assert seeds == {SEEDS - 3, SEEDS - 2, SEEDS - 1, 0, 1}


async def test_a_long_prompt_is_read_in_steps(engine_of: Make) -> None:
    last = end(await run(engine_of(), prompt="a" * 400, max_tokens=2))
    assert last.tokens_in == 402


def test_the_context_is_no_longer_than_the_models(engine_of: Make) -> None:
    assert engine_of(ctx=4096).context_tokens == 512


async def test_messages_go_through_the_models_template(engine_of: Make) -> None:
    engine = engine_of()
    messages = (Message(role=Role.SYSTEM, content="s"), Message(role=Role.USER, content="hi"))
    prompt = engine.prepare(InferenceRequest(messages=messages))
    assert prompt.tokens == engine.prepare(request(prompt="<system>s\n<user>hi\n<assistant>")).tokens


def test_a_model_without_a_template_refuses_messages(engine_of: Make, tmp_path: Path) -> None:
    engine = engine_of(tiny_gguf(tmp_path / "m.gguf", template=Template.NONE))
    with pytest.raises(InvalidRequest, match="no chat template"):
        engine.prepare(InferenceRequest(messages=(Message(role=Role.USER, content="hi"),)))


def test_a_template_without_system_still_gets_the_orders(engine_of: Make, tmp_path: Path) -> None:
    engine = engine_of(tiny_gguf(tmp_path / "m.gguf", template=Template.STRICT))
    messages = (Message(role=Role.SYSTEM, content="s"), Message(role=Role.USER, content="u"))
    folded = engine.prepare(InferenceRequest(messages=messages))
    assert folded.tokens == engine.prepare(request(prompt="[s\n\nu]")).tokens


def test_a_template_that_takes_nobody_is_the_callers_error(engine_of: Make, tmp_path: Path) -> None:
    engine = engine_of(tiny_gguf(tmp_path / "m.gguf", template=Template.BROKEN))
    with pytest.raises(InvalidRequest, match="this template takes nobody"):
        engine.prepare(InferenceRequest(messages=(Message(role=Role.USER, content="hi"),)))


async def test_slots_work_at_the_same_time(engine_of: Make) -> None:
    engine = engine_of(slots=2)
    prompt, go = engine.prepare(request(max_tokens=400)), slowed(engine)
    first, second = told(engine, "a", prompt), told(engine, "b", prompt)
    with engine._desk._changed:  # both are taken before the first step, which is long
        begun = [asyncio.ensure_future(anext(events)) for events in (first, second)]
        await until(lambda: len(engine._desk._known) == 2)
    assert [type(event) for event in await asyncio.gather(*begun)] == [Started, Started]
    assert engine.slots_busy == 2
    go.set()
    engine.close()
    rest = [event async for event in first] + [event async for event in second]
    assert sum(isinstance(event, End) for event in rest) == 2


async def test_the_parallel_say_what_they_say_alone(engine_of: Make) -> None:
    engine = engine_of(slots=2)
    alone = [text(await run(engine, seed=seed, temperature=1.0)) for seed in range(4)]
    together = await asyncio.gather(*(run(engine, f"j{seed}", seed=seed, temperature=1.0) for seed in range(4)))
    assert [text(events) for events in together] == alone


async def test_the_second_waits_for_the_first_in_one_slot(engine_of: Make) -> None:
    engine = engine_of()
    order: list[str] = []

    async def follow(job: str) -> None:
        async for event in told(engine, job, engine.prepare(request(max_tokens=8))):
            if isinstance(event, Started | End):
                order.append(f"{job} {type(event).__name__}")

    await asyncio.gather(follow("a"), follow("b"), follow("c"))
    assert order == ["a Started", "a End", "b Started", "b End", "c Started", "c End"]


async def test_cancel_ends_a_running_job_at_its_next_token(engine_of: Make) -> None:
    engine = engine_of()
    events: list[JobEvent] = []
    go = slowed(engine, after=8)  # tokens are bytes, and at the latest the fourth makes a character whole
    stream = told(engine, "a", engine.prepare(request(max_tokens=400)))
    async for event in stream:
        if isinstance(event, Token):
            break
    assert engine.cancel("a")
    go.set()
    async for event in stream:
        events.append(event)
    assert end(events).stop_reason is StopReason.CANCELLED
    assert engine.slots_busy == 0
    assert end(await run(engine)).tokens_out == 16


async def test_cancel_ends_a_waiting_job_at_once(engine_of: Make) -> None:
    engine = engine_of()
    prompt, go = engine.prepare(request(max_tokens=400)), slowed(engine)
    running = told(engine, "a", prompt)
    await anext(running)
    waiting = asyncio.ensure_future(anext(told(engine, "b", prompt)))
    await asyncio.sleep(0)
    engine.cancel("b")
    assert await waiting == End(tokens_in=7, tokens_out=0, stop_reason=StopReason.CANCELLED, decode_ms=0.0, ttft_ms=0.0)
    go.set()
    await running.aclose()  # type: ignore[attr-defined]


async def test_cancel_of_a_stranger_says_so(engine_of: Make) -> None:
    assert not engine_of().cancel("nobody")


async def test_an_id_used_again_is_not_ended_by_its_predecessor(engine_of: Make) -> None:
    engine = engine_of()
    first = told(engine, "a", engine.prepare(request(max_tokens=400)))
    await anext(first)
    engine.cancel("a")
    while not isinstance(await anext(first), End):
        pass
    second = told(engine, "a", engine.prepare(request(max_tokens=8)))
    assert isinstance(await anext(second), Started)
    await first.aclose()  # type: ignore[attr-defined]
    assert end([event async for event in second]).stop_reason is StopReason.MAX_TOKENS


async def test_a_reader_that_leaves_frees_the_slot(engine_of: Make) -> None:
    engine = engine_of()
    events = told(engine, "a", engine.prepare(request(max_tokens=400)))
    await anext(events)
    await events.aclose()  # type: ignore[attr-defined]
    assert end(await run(engine, "b")).stop_reason is StopReason.MAX_TOKENS


async def test_one_that_is_held_stands_still_and_goes_on_and_loses_nothing() -> None:
    engine = loaded(FakeModel())
    events = told(engine, "a", engine.prepare(request(max_tokens=5000)))
    assert isinstance(await anext(events), Started)
    engine.hold("a", True)
    await until(lambda: engine.activity[0].paused)
    stood = engine.spent.steps
    beside = loaded(FakeModel())
    assert text(await run(beside, max_tokens=3)) == "aaa"
    beside.close()
    assert engine.spent.steps - stood <= 1
    engine.hold("a", False)
    rest = [event async for event in events]
    assert [event.i for event in rest if isinstance(event, Token)] == list(range(5000))
    engine.close()


async def test_a_failing_decode_ends_the_job_and_not_the_slot() -> None:
    model = FakeModel()
    engine = loaded(model)
    model.made.fails = True
    assert isinstance((await run(engine))[-1], Failure)
    model.made.fails = False
    assert text(await run(engine, max_tokens=3)) == "aaa"
    engine.close()


async def test_a_hung_step_shows_in_the_activity() -> None:
    model = FakeModel()
    engine = loaded(model)
    model.made.hangs.set()
    task = asyncio.ensure_future(run(engine))
    await asyncio.to_thread(model.made.entered.wait, 20)
    slot = engine.activity[0]
    assert slot.busy
    assert not slot.paused
    stood = slot.progress_s
    await asyncio.sleep(0.05)
    assert slot.progress_s == stood
    model.made.hangs.clear()
    model.made.let_go.set()
    assert end(await task).tokens_out == 16
    engine.close()


def test_progress_is_reported_while_loading(tiny: Path) -> None:
    engine, seen = make_engine(options(tiny)), []
    engine.load(seen.append)
    engine.close()
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(seen) > 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "failed to read magic"),
        (b"no model at all", "invalid magic characters: 'no m', expected 'GGUF'"),
        (b"GGUF\x03\0\0\0" + b"\xff" * 40, "number of tensors is -1"),
    ],
)
def test_what_is_no_model_fails_with_llamas_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelLoadFailed, match=f"bad.gguf could not be loaded: {reason}") as caught:
        make_engine(options(path)).load(lambda _: None)
    assert caught.value.details["log"][-1].endswith("failed to load model")
    assert caught.value.hint == "rbee-hive models verify tiny"


def test_a_truncated_model_fails(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(tiny.read_bytes()[:100_000])
    with pytest.raises(
        ModelLoadFailed, match="cut.gguf could not be loaded: error loading model: tensor .* corrupted or incomplete"
    ):
        make_engine(options(path)).load(lambda _: None)


def test_a_gpu_that_is_not_there_is_refused_and_the_cpu_is_not_used(tiny: Path) -> None:
    opts = options(tiny)
    gpu = type(opts)(
        id=opts.id, model=opts.model, backend=Backend.CUDA, address=opts.address, ctx=512, slots=1, idle=1, threads=1,
        gpu=(7,), path=opts.path,
    )  # fmt: skip
    with pytest.raises(BackendUnavailable, match="gpu 7 was asked for, llama.cpp sees 0"):
        make_engine(gpu).load(lambda _: None)
