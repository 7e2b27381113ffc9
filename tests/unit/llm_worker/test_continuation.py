"""One worker goes on where another one stopped: the real llama.cpp, cut after every event in turn."""

import pytest

from rbee.errors import ContextTooLong, InvalidRequest
from rbee.wire import continuation
from rbee.wire.events import JobEvent, StopReason, Token
from tests.unit.llm_worker.asking import end, run, text
from tests.unit.llm_worker.test_model_engine import Make

GREEDY = {"temperature": 0, "max_tokens": 48}


def told(events: list[JobEvent], count: int) -> tuple[str, list[int]]:
    """Return the text and the tokens of the first ``count`` token events."""
    first = [event for event in events if isinstance(event, Token)][:count]
    return "".join(event.t for event in first), [token for event in first for token in event.ids]


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"repeat_penalty": 1.3},
        {"frequency_penalty": 0.7},
        {"presence_penalty": 1.5, "repeat_penalty": 1.1},
        {"messages": None, "prompt": "héé 好"},
    ],
)
async def test_greedy_text_is_the_same_wherever_it_was_cut(engine_of: Make, wanted: dict[str, object]) -> None:
    whole = await run(engine_of(), **GREEDY, **wanted)
    other = engine_of()
    count = sum(isinstance(event, Token) for event in whole)
    assert count > 10
    for cut in range(1, count, 3):
        before, ids = told(whole, cut)
        rest = await run(other, job=f"cut-{cut}", **GREEDY, **wanted, continue_from=continuation.packed(ids))
        assert before + text(rest) == text(whole), f"cut after {cut} events"
        assert end(rest).tokens_out == end(whole).tokens_out
        assert end(rest).tokens_in == end(whole).tokens_in
        numbers = [event.i for event in rest if isinstance(event, Token)]
        assert not numbers or numbers[0] >= len(ids)


async def test_every_token_is_told_by_its_number_once(engine_of: Make) -> None:
    whole = await run(engine_of(), **GREEDY)
    _, ids = told(whole, 1000)
    assert len(ids) <= end(whole).tokens_out
    assert await run(engine_of(), **GREEDY, continue_from=continuation.packed(ids[:5])) != whole


async def test_a_stop_string_is_found_across_the_cut(engine_of: Make) -> None:
    engine = engine_of()
    plain = text(await run(engine, **GREEDY))
    stop = plain[10:14]
    whole = await run(engine, **GREEDY, stop=(stop,))
    assert end(whole).stop_reason is StopReason.STOP
    for cut in range(1, sum(isinstance(event, Token) for event in whole)):
        before, ids = told(whole, cut)
        rest = await run(engine, job=f"c{cut}", **GREEDY, stop=(stop,), continue_from=continuation.packed(ids))
        assert before + text(rest) == text(whole)
        assert end(rest).stop_reason is StopReason.STOP


async def test_what_was_said_counts_towards_the_limit(engine_of: Make) -> None:
    whole = await run(engine_of(), **GREEDY)
    _, ids = told(whole, 1000)
    rest = await run(engine_of(), temperature=0, max_tokens=len(ids), continue_from=continuation.packed(ids))
    assert (text(rest), end(rest).stop_reason, end(rest).tokens_out) == ("", StopReason.MAX_TOKENS, len(ids))


async def test_what_was_said_may_fill_the_context(engine_of: Make) -> None:
    """A worker that was lost between its last token and its end: there is nothing to add but the end."""
    engine = engine_of(ctx=64)
    whole = await run(engine, prompt="a" * 40, temperature=0, max_tokens=100)
    _, ids = told(whole, 1000)
    full = [*ids, *[5] * (64 - end(whole).tokens_in - len(ids))]
    rest = await run(engine_of(ctx=64), prompt="a" * 40, max_tokens=100, continue_from=continuation.packed(full))
    assert (text(rest), end(rest).stop_reason) == ("", StopReason.MAX_TOKENS)
    assert end(rest).tokens_in + end(rest).tokens_out == 64
    with pytest.raises(ContextTooLong, match="were said already"):
        await run(engine, prompt="a" * 40, max_tokens=100, continue_from=continuation.packed([*full, 5]))


async def test_sampled_text_goes_on_but_not_with_the_same_draws(engine_of: Make) -> None:
    wanted = {"temperature": 1.0, "seed": 3, "max_tokens": 32}
    whole = await run(engine_of(), **wanted)
    _, ids = told(whole, 5)
    rest = await run(engine_of(), **wanted, continue_from=continuation.packed(ids))
    assert end(rest).tokens_out == 32
    assert text(rest) != text(whole)


async def test_nonsense_to_go_on_from_is_refused(engine_of: Make) -> None:
    for nonsense in ("not base64!", continuation.packed([1 << 31])):
        with pytest.raises(InvalidRequest, match="continue_from"):
            await run(engine_of(), continue_from=nonsense)
    with pytest.raises(ContextTooLong, match="were said already"):
        await run(engine_of(), max_tokens=600, continue_from=continuation.packed([5] * 510))
