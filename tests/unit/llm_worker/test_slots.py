"""Who waits for whom: nobody for ever. The real llama.cpp where a state cannot be cut, a fake where a step fails."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.llm_worker.answer import Answer
from rbee.llm_worker.desk import Work
from rbee.llm_worker.engine import Prompt, SlotActivity
from rbee.llm_worker.model_engine import ModelEngine
from rbee.llm_worker.ports import StepFailed
from rbee.llm_worker.seating import tokens_of
from rbee.llm_worker.slot import Slot
from rbee.llm_worker.slots import Slots
from rbee.wire import continuation
from rbee.wire.events import Failure, JobEvent, Token
from tests.assets.kinds import tiny_mamba
from tests.rig.waiting import PATIENCE
from tests.unit.llm_worker.asking import all_of, end, request, run, text, told
from tests.unit.llm_worker.fakes import FakeContext, FakeModel, engine_on

Make = Callable[..., ModelEngine]
CHUNK = 128
GREEDY = {"temperature": 0, "max_tokens": 12}


@pytest.fixture(scope="session")
def mamba(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_mamba(tmp_path_factory.mktemp("mamba") / "mamba.gguf")


def answer() -> Answer:
    prompt = Prompt(request=request(), tokens=(), seed=1, max_tokens=1)
    work = Work(job="j", prompt=prompt, outlet=lambda _: None, asked_s=0.0)
    return Answer(work, piece=lambda _: b"a", ends=lambda _: False, clock=lambda: 0.0)


@pytest.mark.parametrize("cuts", [True, False], ids=["tiny", "mamba"])
async def test_two_that_would_copy_from_each_other_both_end(
    engine_of: Make, tiny: Path, mamba: Path, *, cuts: bool
) -> None:
    """The first takes the older slot and copies the other, which the second takes and would like to copy the first."""
    path, shared = tiny if cuts else mamba, "a" * 200
    prompts = [f"{shared}c{'x' * 20}", f"{shared}c{'x' * 19}y"]
    engine = engine_of(path, slots=2)
    for prompt in (shared, "other", shared):
        await run(engine, prompt=prompt, **GREEDY)
    async with asyncio.timeout(20 * PATIENCE):
        both = await asyncio.gather(*(run(engine, f"j{n}", prompt=each, **GREEDY) for n, each in enumerate(prompts)))
    assert [end(events).tokens_cached > 190 for events in both] == [cuts, cuts]
    assert [text(events) for events in both] == [text(await run(engine_of(path), prompt=p, **GREEDY)) for p in prompts]


async def test_a_state_that_cannot_be_cut_is_known_as_a_whole_or_not_at_all(engine_of: Make, mamba: Path) -> None:
    engine = engine_of(mamba, slots=2)
    prompt = "a" * 200
    first = await run(engine, prompt=prompt, **GREEDY)
    said = continuation.packed([token for event in first if isinstance(event, Token) for token in event.ids])
    more = {"prompt": prompt, "temperature": 0, "max_tokens": 24, "continue_from": said}
    on = await run(engine, **more)
    assert end(on).tokens_cached == end(on).tokens_in
    assert text(on) == text(await run(engine_of(mamba), **more)) != ""
    assert end(await run(engine, prompt=prompt + "b", **GREEDY)).tokens_cached == 0


async def test_who_waited_for_one_whose_step_failed_does_not_wait_for_its_successor() -> None:
    model = FakeModel()
    engine = engine_on(model.loader, slots=2)
    engine.load(lambda _: None)
    context, step = model.made, model.made.step

    def failing() -> None:
        context.step = step  # type: ignore[method-assign]
        raise StepFailed("only this once")

    def ask(job: str, tokens: int) -> "asyncio.Future[list[JobEvent]]":
        return asyncio.ensure_future(all_of(told(engine, job, engine.prepare(request(prompt="x" * 8 * tokens)))))

    context.hangs.set()
    asked = [ask("reads", 300)]
    await asyncio.to_thread(context.entered.wait, 20)
    asked += [ask("waits", 400), ask("comes", 500)]
    await asyncio.sleep(0)
    context.step = failing  # type: ignore[method-assign]
    context.hangs.clear()
    context.let_go.set()
    async with asyncio.timeout(20 * PATIENCE):
        first, *others = await asyncio.gather(*asked)
    assert isinstance(first[-1], Failure)
    assert [end(events).tokens_out for events in others] == [16, 16]
    engine.close()


def test_what_is_there_is_copied_before_its_slot_can_be_given_away() -> None:
    context = FakeContext(2, 1024, CHUNK)
    slots = Slots(context, [SlotActivity(number=n) for n in range(2)])
    slots.know(0, range(100))
    slot = slots.take(answer(), tokens_of([*range(60), 900]), chunk=0)
    assert (slot.number, slot.source, context.copied) == (1, None, [(0, 1)])
    assert slot.held.tokens == tokens_of(range(60))


@pytest.mark.parametrize(("room", "copied"), [(1024, [(0, 1)]), (32_768, [])])
def test_a_large_slot_is_not_copied_for_a_short_beginning(room: int, copied: list[tuple[int, int]]) -> None:
    context = FakeContext(2, room, CHUNK)
    slots = Slots(context, [SlotActivity(number=n) for n in range(2)])
    slots.know(0, range(200))
    slot = slots.take(answer(), tokens_of([*range(60), 900]), chunk=0)
    assert (slot.number, context.copied) == (1, copied)


def test_who_leaves_is_copied_by_those_who_waited_and_waited_for_no_more() -> None:
    context = FakeContext(2, 1024, CHUNK)
    slots = Slots(context, [SlotActivity(number=n) for n in range(2)])
    reads = slots.take(answer(), tokens_of(range(300)), chunk=0)
    waits = slots.take(answer(), tokens_of([*range(250), 9]), chunk=0)
    reads.held.tokens.extend(range(CHUNK))
    assert not slots.copied(waits)
    slots.leave(reads)
    assert (context.copied, len(waits.held.tokens)) == ([(0, 1)], CHUNK)
    assert slots.take(answer(), tokens_of([*range(250), 9, 9]), chunk=0).source is waits
    assert slots.copied(waits)


def test_what_a_slot_keeps_until_it_copies_ends_where_a_chunk_does() -> None:
    """Else it would read no whole chunk any more, and who copies only those would wait for it in vain."""
    slots = Slots(FakeContext(2, 1024, CHUNK), [SlotActivity(number=n) for n in range(2)])
    slots.know(1, range(CHUNK))
    slots[1].held.steady = CHUNK
    reads = slots.take(answer(), tokens_of([*range(100), *range(500, 800)]), chunk=CHUNK)
    waits = slots.take(answer(), tokens_of([*range(100), *range(500, 790)]), chunk=CHUNK)
    assert (reads.number, waits.source, waits.want) == (0, reads, 3 * CHUNK)
    assert len(waits.held.tokens) == 0


def test_half_a_chunk_that_is_kept_is_not_steady() -> None:
    slots = Slots(FakeContext(1, 1024, CHUNK), [SlotActivity(number=0)])
    slots.know(0, range(2 * CHUNK))
    slots[0].held.steady = 2 * CHUNK
    slot = slots.take(answer(), tokens_of([*range(200), 900]), chunk=0)
    assert (len(slot.held.tokens), slot.held.steady) == (200, CHUNK)


class Forgetful(FakeContext):
    """Now and then it can keep nothing, as where a window has moved on."""

    def __init__(self, data: st.DataObject) -> None:
        super().__init__(3, 64, 4)
        self.data, self.cuts = data, data.draw(st.booleans())

    def keep(self, slot: int, count: int) -> int:
        return count if self.data.draw(st.integers(0, 3)) else 0


def read_on(slots: Slots, slot: Slot) -> None:
    """Read a chunk of a slot's prompt; it leaves when all is read."""
    if slot.answer is None or slot.answer.work.held or not slots.copied(slot):
        return
    held, part = slot.held, slot.rest[slot.read : slot.read + 4]
    held.steady += 4 if len(part) == 4 and held.steady == len(held.tokens) else 0
    held.tokens.extend(part)
    slot.read += len(part)
    if not slot.reading:
        slots.leave(slot)


@given(st.data())
def test_whatever_happens_nobody_waits_for_a_free_slot_or_for_who_came_later_and_all_end(data: st.DataObject) -> None:
    slots = Slots(Forgetful(data), [SlotActivity(number=n) for n in range(3)])
    prompts = st.lists(st.integers(0, 1), min_size=1, max_size=40)
    for _ in range(data.draw(st.integers(1, 20))):
        busy = slots.busy
        what = data.draw(st.sampled_from(["take", "read", "read", "hold", "leave"]))
        if what == "take" and slots.room:
            beginning = data.draw(st.sampled_from([[], [1] * 9, [1] * 17]))
            slots.take(answer(), tokens_of([*beginning, *data.draw(prompts)]), chunk=data.draw(st.sampled_from([0, 4])))
        elif what != "take" and busy:
            slot = data.draw(st.sampled_from(busy))
            if what == "read":
                read_on(slots, slot)
            elif what == "leave":
                slots.leave(slot)
            elif slot.answer is not None:
                slot.answer.work.held = not slot.answer.work.held
        for slot in slots.busy:
            assert slot.held.steady % 4 == 0
            assert slot.held.tokens == slot.held.coming[: len(slot.held.tokens)]
            if slot.source is not None:
                assert slot.source in slots.busy
                assert slot.source.held.used < slot.held.used
    for slot in slots.busy:
        if slot.answer is not None:
            slot.answer.work.held = False
    for _ in range(3 * 60):
        for slot in list(slots.busy):
            read_on(slots, slot)
    assert not slots.busy
