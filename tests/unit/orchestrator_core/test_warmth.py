"""Who has read the beginning of a prompt."""

from hypothesis import given
from hypothesis import strategies as st

from rbee.orchestrator_core.warmth import BLOCK_BYTES, BLOCKS, SESSION_BYTES, Warmth, blocks_of, session_of
from rbee.wire.jobs import JobSpec, Message, Role

A, B = ("blep", "worker-cpu-0"), ("mac", "worker-cpu-0")
LONG = "The quick brown fox. " * 100


def prompt(text: str, **facts: object) -> JobSpec:
    return JobSpec(**{"model": "tiny", "prompt": text, **facts})  # type: ignore[arg-type]


def chat(*contents: str) -> JobSpec:
    turns = tuple(Message(role=Role.USER if n % 2 == 0 else Role.ASSISTANT, content=c) for n, c in enumerate(contents))
    return JobSpec(model="tiny", messages=turns)


def test_a_prompt_is_found_again_by_its_beginning() -> None:
    warmth = Warmth()
    warmth.note(A, blocks_of(prompt(LONG + "What is it?")), slots=1)
    warmth.note(B, blocks_of(prompt("Something else. " * 100)), slots=1)
    found = warmth.match(blocks_of(prompt(LONG + "Who is it?")))
    assert found == {A: len(LONG) // BLOCK_BYTES * BLOCK_BYTES}


def test_the_second_turn_of_a_chat_goes_where_the_first_was() -> None:
    warmth = Warmth()
    warmth.note(A, blocks_of(chat(LONG)), slots=1)
    assert set(warmth.match(blocks_of(chat(LONG, "An answer", "Go on")))) == {A}


def test_another_model_shares_nothing_and_short_prompts_have_no_blocks() -> None:
    warmth = Warmth()
    warmth.note(A, blocks_of(prompt(LONG)), slots=1)
    assert warmth.match(blocks_of(prompt(LONG, model="big"))) == {}
    assert blocks_of(prompt("hello")) == ()
    assert warmth.match(()) == {}


def test_a_session_goes_where_it_was_last() -> None:
    warmth = Warmth()
    for key in (A, B):
        warmth.note(key, (), slots=1, session=("ann", "s"))
    assert warmth.match((), ("ann", "s")) == {B: SESSION_BYTES}
    warmth.forget(B)
    assert warmth.match((), ("ann", "s")) == {}


def test_a_session_is_its_callers_own() -> None:
    warmth, asked = Warmth(), prompt("hi", session="s")
    warmth.note(A, (), slots=1, session=session_of("ann", asked))
    warmth.note(B, (), slots=1, session=session_of("bob", asked))
    assert warmth.match((), session_of("ann", asked)) == {A: SESSION_BYTES}
    assert session_of("ann", prompt("hi")) is None


def test_a_worker_remembers_two_prompts_for_each_slot() -> None:
    warmth = Warmth()
    prompts = [blocks_of(prompt(f"{n}" * 400)) for n in range(5)]
    for each in prompts:
        warmth.note(A, each, slots=2)
    assert [bool(warmth.match(each)) for each in prompts] == [False, True, True, True, True]
    warmth.note(A, prompts[1], slots=2)
    warmth.note(A, prompts[0], slots=2)
    assert [bool(warmth.match(each)) for each in prompts] == [True, True, False, True, True]
    warmth.forget(A)
    assert not any(warmth.match(each) for each in prompts)


def test_a_huge_prompt_is_not_hashed_to_its_end() -> None:
    assert len(blocks_of(prompt("x" * (1 << 20)))) == BLOCKS


@given(st.text(min_size=0, max_size=2000), st.text(max_size=600), st.text(max_size=600))
def test_what_is_found_is_common_and_whole_blocks(common: str, one: str, other: str) -> None:
    warmth = Warmth()
    first, second = (common + one).encode(), (common + other).encode()
    warmth.note(A, blocks_of(prompt(common + one or "x")), slots=1)
    shared = warmth.match(blocks_of(prompt(common + other or "x"))).get(A, 0)
    assert shared % BLOCK_BYTES == 0
    assert first[:shared] == second[:shared]
    longer = shared + BLOCK_BYTES
    assert len(first) < longer or len(second) < longer or first[:longer] != second[:longer]
