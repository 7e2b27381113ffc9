"""Which slot takes a prompt: by what each knows, and by when it was last of use."""

from array import array
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.llm_worker.seating import WORTH_COPYING_TOKENS, Held, Seat, common, seat, shares, tokens_of

LONG = WORTH_COPYING_TOKENS + 8


def slot(number: int, tokens: Sequence[int] = (), *, free: bool = True, used: int = 0) -> Held:
    known = tokens_of(tokens)
    return Held(slot=number, tokens=known, coming=known, free=free, used=used)


def test_an_empty_slot_is_taken_before_one_that_knows_something_else() -> None:
    assert seat(tokens_of([1, 2, 3]), [slot(0, [7, 8], used=1), slot(1)]) == Seat(slot=1, keep=0)


def test_what_went_on_goes_on_in_its_own_slot() -> None:
    before = list(range(100))
    found = seat(tokens_of([*before, 5, 6]), [slot(0, before, used=9), slot(1, [3] * 50, used=1)])
    assert found == Seat(slot=0, keep=100)


def test_the_last_token_is_always_read() -> None:
    assert seat(tokens_of([1, 2, 3]), [slot(0, [1, 2, 3, 4])]) == Seat(slot=0, keep=2)


def test_a_shared_beginning_is_copied_and_the_longer_conversation_stays() -> None:
    shared = list(range(LONG))
    found = seat(tokens_of([*shared, 900, 901]), [slot(0, [*shared, *range(100, 200)], used=5), slot(1, used=0)])
    assert found == Seat(slot=1, keep=LONG, source=0)


def test_a_beginning_is_copied_from_a_slot_that_has_work() -> None:
    shared = list(range(LONG))
    found = seat(tokens_of([*shared, 9]), [slot(0, [*shared, 1, 2], free=False), slot(1, [4, 4], used=3)])
    assert found == Seat(slot=1, keep=LONG, source=0)


def test_a_short_beginning_is_read_again() -> None:
    found = seat(tokens_of([1, 2, 3, 4]), [slot(0, [1, 2, 9], free=False), slot(1)])
    assert found == Seat(slot=1, keep=0)


def test_the_slot_that_was_longest_of_no_use_is_given_up() -> None:
    found = seat(tokens_of([5, 6]), [slot(0, [1] * 9, used=4), slot(1, [2] * 9, used=2), slot(2, [3] * 9, used=3)])
    assert found == Seat(slot=1, keep=0)


def test_nobody_is_seated_where_all_are_taken() -> None:
    assert seat(tokens_of([1]), [slot(0, free=False)]) is None


def drawn(data: st.DataObject, *, last: int, longest: int) -> tuple[list[Held], "array[int]"]:
    """Return four slots and a prompt, of tokens up to ``last``."""
    words = st.lists(st.integers(0, last), max_size=longest)
    slots = [
        slot(n, data.draw(words), free=data.draw(st.booleans()), used=data.draw(st.integers(0, 9))) for n in range(4)
    ]
    return slots, tokens_of(data.draw(st.lists(st.integers(0, last), min_size=1, max_size=longest)))


@given(st.data())
def test_a_seat_is_free_and_keeps_what_its_source_really_has(data: st.DataObject) -> None:
    slots, prompt = drawn(data, last=2, longest=80)
    found = seat(prompt, slots)
    if found is None:
        assert not any(each.free for each in slots)
        return
    assert slots[found.slot].free
    from_ = slots[found.slot if found.source is None else found.source]
    assert found.keep < len(prompt)
    assert prompt[: found.keep] == from_.coming[: found.keep]
    assert found.source != found.slot


@given(st.data())
def test_where_nothing_can_be_cut_a_seat_keeps_all_that_its_source_knows_or_nothing(data: st.DataObject) -> None:
    slots, prompt = drawn(data, last=1, longest=12)
    found = seat(prompt, slots, cuts=False, worth=1)
    if found is not None and found.keep:
        source = slots[found.slot if found.source is None else found.source]
        assert found.keep == len(source.tokens) < len(prompt)
        assert prompt[: found.keep] == source.tokens


@pytest.mark.parametrize(
    ("read", "steady", "known"),
    [
        (0, 0, 256),  # it will read whole chunks from the beginning on
        (128, 128, 256),
        (100, 0, 0),  # it goes on in the middle of a chunk
        (300, 256, 256),
        (300, 128, 128),
    ],
)
def test_of_what_a_slot_will_know_only_whole_chunks_are_steady(read: int, steady: int, known: int) -> None:
    prompt = tokens_of(range(300))
    held = Held(slot=0, tokens=prompt[:read], coming=prompt, steady=steady, free=False)
    assert held.known(prompt, chunk=128, cuts=True) == known


@given(st.lists(st.integers(0, 1), max_size=40), st.lists(st.integers(0, 1), max_size=40))
def test_common_is_the_longest_beginning_of_both(one: list[int], other: list[int]) -> None:
    count = common(tokens_of(one), tokens_of(other))
    assert one[:count] == other[:count]
    assert count in (len(one), len(other)) or one[count] != other[count]


@pytest.mark.parametrize(
    ("rests", "room", "given_"),
    [
        ([1000], 128, [128]),
        ([1000, 10], 128, [118, 10]),
        ([1000, 1000], 128, [64, 64]),
        ([5, 5], 128, [5, 5]),
        ([9, 9, 9], 2, [1, 1, 0]),
        ([9], 0, [0]),
        ([], 128, []),
    ],
)
def test_prompts_share_a_step(rests: list[int], room: int, given_: list[int]) -> None:
    assert shares(rests, room) == given_


@given(st.lists(st.integers(0, 500), max_size=20), st.integers(0, 200))
def test_no_room_is_left_while_somebody_waits(rests: list[int], room: int) -> None:
    parts = shares(rests, room)
    assert all(0 <= part <= rest for part, rest in zip(parts, rests, strict=True))
    assert sum(parts) == min(room, sum(rests))
