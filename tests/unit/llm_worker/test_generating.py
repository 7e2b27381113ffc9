"""Many answers in one batch: the real llama.cpp on the tiny model, and a fake one to see what is in each step."""

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from rbee.llm_worker.model_engine import ModelEngine
from rbee.llm_worker.seating import MOST_PADDED_TOKENS, rows
from rbee.wire.events import End, JobEvent, Started, StopReason, Token
from tests.unit.llm_worker.asking import all_of, end, request, run, slowed, text, told, until
from tests.unit.llm_worker.fakes import FakeModel, loaded

Make = Callable[..., ModelEngine]
CHUNK = 128


def fake(slots: int) -> tuple[ModelEngine, FakeModel]:
    model = FakeModel()
    return loaded(model, slots=slots), model


async def test_a_long_prompt_stalls_nobody_for_more_than_one_chunk() -> None:
    engine, model = fake(slots=2)
    running = told(engine, "a", engine.prepare(request(max_tokens=20_000)))
    assert isinstance(await anext(running), Started)
    long = await run(engine, "b", prompt="x" * 8 * 2000, max_tokens=1)
    assert end(long).tokens_in == 2000
    await running.aclose()  # type: ignore[attr-defined]
    steps = model.made.steps
    reading = [n for n, step in enumerate(steps) if any(slot == 1 for slot, _ in step)]
    assert len(reading) >= 2000 // CHUNK
    assert all(sum(count for _, count in step) <= CHUNK for step in steps)
    assert all(steps[n + 1] == [(0, 1)] for n in reading[:-1]), "between two chunks each answer goes on"
    engine.close()


async def test_on_a_gpu_prompts_and_answers_are_computed_together() -> None:
    engine, model = fake(slots=2)
    model.made.mixes = True
    running = told(engine, "a", engine.prepare(request(max_tokens=20_000)))
    assert isinstance(await anext(running), Started)
    await run(engine, "b", prompt="x" * 8 * 2000, max_tokens=1)
    await running.aclose()  # type: ignore[attr-defined]
    reading = [step for step in model.made.steps if any(slot == 1 for slot, _ in step)]
    assert all((0, 1) in step for step in reading)
    assert all(sum(count for _, count in step) <= CHUNK for step in model.made.steps)
    engine.close()


async def test_a_short_prompt_does_not_wait_for_a_long_one_before_it() -> None:
    engine, model = fake(slots=2)
    order: list[str] = []

    async def ask(job: str, tokens: int) -> None:
        prompt = engine.prepare(request(prompt="x" * 8 * tokens, max_tokens=1))
        order.extend([job async for event in told(engine, job, prompt) if isinstance(event, End)])

    model.made.hangs.set()
    long = asyncio.ensure_future(ask("long", 6000))
    await asyncio.to_thread(model.made.entered.wait, 20)
    short = asyncio.ensure_future(ask("short", 20))
    await asyncio.sleep(0)
    model.made.hangs.clear()
    model.made.let_go.set()
    await asyncio.gather(long, short)
    assert order == ["short", "long"]
    engine.close()


async def test_all_answers_share_each_step() -> None:
    engine, model = fake(slots=4)
    model.made.hangs.set()
    prompt = engine.prepare(request(max_tokens=200))
    jobs = [asyncio.ensure_future(run(engine, "first", max_tokens=200))]
    await asyncio.to_thread(model.made.entered.wait, 20)
    jobs += [asyncio.ensure_future(all_of(told(engine, f"j{n}", prompt))) for n in range(3)]
    await asyncio.sleep(0)
    model.made.hangs.clear()
    model.made.let_go.set()
    await asyncio.gather(*jobs)
    assert len([step for step in model.made.steps if len(step) == 4]) >= 199
    assert len(model.made.steps) <= 202
    engine.close()


async def test_requests_join_and_leave_between_steps(engine_of: Make) -> None:
    engine = engine_of(slots=3)
    jobs = [run(engine, f"j{n}", max_tokens=5 + 7 * n, seed=n, temperature=1.0) for n in range(9)]
    together = await asyncio.gather(*jobs)
    assert [end(events).tokens_out for events in together] == [5 + 7 * n for n in range(9)]
    alone = [text(await run(engine_of(), max_tokens=5 + 7 * n, seed=n, temperature=1.0)) for n in range(9)]
    assert [text(events) for events in together] == alone


async def test_many_wait_their_turn(engine_of: Make) -> None:
    engine = engine_of(slots=2)
    started: list[str] = []

    async def follow(job: str) -> None:
        async for event in told(engine, job, engine.prepare(request(max_tokens=6))):
            if isinstance(event, Started):
                started.append(job)

    names = [f"j{n}" for n in range(8)]
    await asyncio.gather(*(follow(name) for name in names))
    assert started == names


async def test_a_second_turn_reads_only_what_is_new(engine_of: Make) -> None:
    engine = engine_of(slots=2)
    first = await run(engine, prompt="a" * 200, max_tokens=8, temperature=0)
    assert end(first).tokens_cached == 0
    more = "a" * 200 + "b" * 20
    second = await run(engine, prompt=more, max_tokens=8, temperature=0)
    assert end(second).tokens_cached > 200
    assert text(second) == text(await run(engine_of(), prompt=more, max_tokens=8, temperature=0))


async def test_a_shared_beginning_is_copied_to_others(engine_of: Make) -> None:
    engine = engine_of(slots=3)
    prompts = ["a" * 150 + letter for letter in "bcd"]
    together = await asyncio.gather(
        *(run(engine, f"j{n}", prompt=prompt, max_tokens=12, temperature=0) for n, prompt in enumerate(prompts))
    )
    # Which of them is the first to be ready, and so the one that reads, threads decide.
    assert sorted(end(events).tokens_cached > 140 for events in together) == [False, True, True]
    alone = [text(await run(engine_of(), prompt=prompt, max_tokens=12, temperature=0)) for prompt in prompts]
    assert [text(events) for events in together] == alone


async def test_whoever_waits_for_a_beginning_goes_on_when_its_reader_is_cancelled(engine_of: Make) -> None:
    engine = engine_of(slots=2)
    go = slowed(engine)
    leader = told(engine, "leader", engine.prepare(request(prompt="a" * 300)))
    follower = asyncio.ensure_future(run(engine, "follower", prompt="a" * 300 + "b", max_tokens=5))
    assert isinstance(await anext(leader), Started)
    await until(lambda: len(engine._desk._known) == 2)
    engine.cancel("leader")
    go.set()
    assert end([event async for event in leader]).stop_reason is StopReason.CANCELLED
    assert end(await follower).tokens_out == 5


async def test_one_that_is_cancelled_does_not_disturb_the_others(engine_of: Make) -> None:
    engine = engine_of(slots=2)
    kept = asyncio.ensure_future(run(engine, "kept", max_tokens=300, seed=3, temperature=1.0))
    for n in range(20):
        events = told(engine, f"gone-{n}", engine.prepare(request(prompt=f"x{n}" * 40, max_tokens=400)))
        await anext(events)
        await events.aclose()  # type: ignore[attr-defined]
    assert text(await kept) == text(await run(engine_of(), max_tokens=300, seed=3, temperature=1.0))


async def test_a_long_step_ends_when_nobody_wants_it_any_more(engine_of: Make) -> None:
    engine = engine_of(ctx=512)
    go = slowed(engine)
    for letter in "abcdefghij":
        go.clear()
        events = told(engine, "a", engine.prepare(request(prompt=letter * 500, max_tokens=4)))
        await anext(events)
        engine.cancel("a")
        go.set()
        assert end([event async for event in events]).stop_reason is StopReason.CANCELLED
    assert end(await run(engine, max_tokens=4)).tokens_out == 4


async def test_a_step_that_fails_ends_those_in_it_and_no_others() -> None:
    engine, model = fake(slots=2)
    model.made.hangs.set()
    first = asyncio.ensure_future(run(engine, "a"))
    await asyncio.to_thread(model.made.entered.wait, 20)
    model.made.fails = True
    second = asyncio.ensure_future(run(engine, "b"))
    model.made.hangs.clear()
    model.made.let_go.set()
    assert [type(events[-1]).__name__ for events in await asyncio.gather(first, second)] == ["Failure", "Failure"]
    model.made.fails = False
    assert end(await run(engine, "c")).tokens_out == 16
    engine.close()


@pytest.mark.parametrize("part", ["add", "draw"])
async def test_a_fault_around_a_step_ends_those_in_it_and_no_others(part: str) -> None:
    engine, model = fake(slots=2)
    sound = getattr(model.made, part)

    def faulty(*_: object, **__: object) -> int:
        setattr(model.made, part, sound)
        raise ValueError("only this once")

    model.made.hangs.set()
    first = asyncio.ensure_future(run(engine, "a", prompt="x" * 8 * 200))
    await asyncio.to_thread(model.made.entered.wait, 20)
    setattr(model.made, part, faulty)
    model.made.hangs.clear()
    model.made.let_go.set()
    assert type((await first)[-1]).__name__ == "Failure"
    assert engine.slots_busy == 0
    assert end(await run(engine, "b")).tokens_out == 16
    engine.close()


async def test_a_held_answer_stands_still_beside_one_that_runs() -> None:
    engine, model = fake(slots=2)
    held = told(engine, "held", engine.prepare(request(max_tokens=30_000)))
    assert isinstance(await anext(held), Started)
    engine.hold("held", True)
    await until(lambda: engine.activity[0].paused)
    before = len(model.made.steps)
    assert end(await run(engine, "runs", max_tokens=50)).tokens_out == 50
    assert all(slot == 1 for step in model.made.steps[before + 1 :] for slot, _ in step)
    engine.cancel("held")
    assert end([event async for event in held]).stop_reason is StopReason.CANCELLED
    engine.close()


async def test_an_answer_that_cannot_begin_ends_and_nobody_else_does() -> None:
    engine, model = fake(slots=2)
    sampler = model.made.sampler
    model.made.sampler = lambda *_: 1 // 0  # type: ignore[method-assign]
    assert type((await run(engine, "a"))[-1]).__name__ == "Failure"
    model.made.sampler = sampler  # type: ignore[method-assign]
    assert end(await run(engine, "b")).tokens_out == 16
    assert engine.slots_busy == 0
    engine.close()


async def test_closing_ends_all(engine_of: Make) -> None:
    engine = engine_of(slots=2)
    prompt, go = engine.prepare(request(max_tokens=450)), slowed(engine)
    with engine._desk._changed:  # two are taken before the first step, which is long
        jobs = [asyncio.ensure_future(all_of(told(engine, f"j{n}", prompt))) for n in range(5)]
        await until(lambda: len(engine._desk._known) == 5)
    await until(lambda: engine.slots_busy == 2)
    closing = asyncio.ensure_future(asyncio.to_thread(engine.close))
    await until(lambda: engine._desk.closing)
    go.set()
    await closing
    assert [end(events).stop_reason for events in await asyncio.gather(*jobs)] == [StopReason.CANCELLED] * 5


async def test_events_of_a_step_arrive_together(engine_of: Make) -> None:
    engine = engine_of(slots=4)
    loop_turns: list[int] = []
    told_in: dict[int, int] = {}

    def outlet(job: int, done: "asyncio.Future[None]") -> Callable[[Sequence[JobEvent]], None]:
        def tell(events: Sequence[JobEvent]) -> None:
            told_in[job] = told_in.get(job, 0) + 1
            loop_turns.append(threading.get_ident())
            if isinstance(events[-1], End):
                done.set_result(None)

        return tell

    prompt = engine.prepare(request(max_tokens=40))
    waits = []
    for job in range(4):
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waits.append(done)
        engine.submit(str(job), prompt, outlet(job, done))
    await asyncio.gather(*waits)
    assert set(loop_turns) == {threading.get_ident()}
    assert all(count <= 43 for count in told_in.values())


@pytest.mark.parametrize("rivals", [0, 3])
async def test_likelihoods_are_told_with_the_text_they_are_of(engine_of: Make, rivals: int) -> None:
    events = await run(engine_of(), temperature=0, max_tokens=20, logprobs=rivals)
    likely = [each for event in events if isinstance(event, Token) for each in event.logprobs]
    assert len(likely) >= 18
    assert all(each.logprob <= 0 and len(each.top) == rivals for each in likely)
    if rivals:
        assert all(each.top[0].logprob == pytest.approx(each.logprob) for each in likely), "greedy says the likeliest"
        assert all(list(each.top) == sorted(each.top, key=lambda rival: -rival.logprob) for each in likely)
    assert text(events) == text(await run(engine_of(), temperature=0, max_tokens=20))


async def test_a_bias_forbids_and_forces(engine_of: Make) -> None:
    engine = engine_of()
    plain = await run(engine, temperature=0, max_tokens=1)
    (token,) = [event for event in plain if isinstance(event, Token)]
    forbidden = await run(engine, temperature=0, max_tokens=1, logit_bias={str(token.ids[0]): -100})
    assert text(forbidden) != text(plain)
    forced = await run(engine, temperature=0, max_tokens=5, logit_bias={str(token.ids[0]): 100})
    assert text(forced) == text(plain) * 5


async def test_penalties_count_the_answer(engine_of: Make) -> None:
    engine = engine_of()
    plain = text(await run(engine, temperature=0, max_tokens=60))
    for name in ("frequency_penalty", "presence_penalty"):
        assert len(set(text(await run(engine, temperature=0, max_tokens=60, **{name: 2.0})))) >= len(set(plain))
        assert text(await run(engine, temperature=0, max_tokens=60, **{name: 2.0})) != plain


async def test_a_slot_between_two_is_computed_with_them_and_knows_nothing_of_it(engine_of: Make) -> None:
    engine = engine_of(slots=3)
    prompts = ["a" * 60, "b" * 50, "c" * 40]
    wanted = {"temperature": 0, "seed": 1}
    events = [
        told(engine, f"j{n}", engine.prepare(request(prompt=p, max_tokens=300, **wanted)))
        for n, p in enumerate(prompts)
    ]
    for each in events:
        assert isinstance(await anext(each), Started)
    engine.cancel("j1")
    await all_of(events[1])
    outer = [text(await all_of(events[n])) for n in (0, 2)]
    alone = [text(await run(engine_of(), prompt=prompts[n], max_tokens=300, **wanted)) for n in (0, 2)]
    assert [whole.endswith(said) for whole, said in zip(alone, outer, strict=True)] == [True, True]
    again = await run(engine, prompt=prompts[1], max_tokens=40, **wanted)
    assert text(again) == text(await run(engine_of(), prompt=prompts[1], max_tokens=40, **wanted))


@pytest.mark.parametrize(
    ("numbers", "never_alone", "computed"),
    [
        ([0, 1, 2], [], [0, 1, 2]),
        ([0, 3], [], [0, 1, 2, 3]),
        ([0, 6], [], [0, 6]),
        ([5], [], [5]),
        ([5], [5], [5, 6]),
        ([7], [7], [6, 7]),
        ([0, 7], [0, 7], [0, 1, 6, 7]),
        ([0, 1], [0], [0, 1]),
    ],
)
def test_what_is_computed_with_whom(numbers: list[int], never_alone: list[int], computed: list[int]) -> None:
    assert rows(numbers, [9] * 8, never_alone=never_alone, room=512) == computed


def test_where_there_is_one_slot_it_is_alone() -> None:
    assert rows([0], [9], never_alone=[0], room=512) == [0]


def test_the_neighbour_that_looks_back_on_less_is_computed_too() -> None:
    assert rows([1], [90, 5, 40], never_alone=[1], room=512) == [1, 2]
    assert rows([1], [30, 5, 40], never_alone=[1], room=512) == [0, 1]


def test_a_slot_that_is_full_is_no_company() -> None:
    assert rows([1], [512, 5, 500], never_alone=[1], room=512) == [1, 2]
    assert rows([1], [512, 5, 512], never_alone=[1], room=512) == [1]
    assert rows([0, 2], [5, 512, 5], never_alone=[0], room=512) == [0, 2]


def test_a_gap_that_looks_back_on_much_is_left_open() -> None:
    assert rows([0, 3], [5, MOST_PADDED_TOKENS - 3, 3, 5], never_alone=[], room=1 << 20) == [0, 1, 2, 3]
    assert rows([0, 3], [5, MOST_PADDED_TOKENS, 3, 5], never_alone=[], room=1 << 20) == [0, 3]
