"""What an answer tells of tokens that make several pieces, and how another goes on from any of these."""

import pytest

from rbee.llm_worker.answer import Answer
from rbee.llm_worker.calling.ear import CallEar
from rbee.llm_worker.calling.style import HERMES, MISTRAL_ARGS, Style
from rbee.llm_worker.desk import Work
from rbee.llm_worker.engine import Prompt
from rbee.llm_worker.shape import Shape
from rbee.wire.events import Call, End, JobEvent, Token
from tests.unit.llm_worker.asking import request

HERMES_WORDS = [
    "Look: ",
    'é<tool_call>\n{"name": "weather", "arguments": {"city"',
    ': "a"}}\n</tool_call>\n<tool_call>\n{"name": "now", "arguments": {',
    "}}\n</tool_call>",
]
MISTRAL_WORDS = ["Look[TOOL_CALLS]weather", '[ARGS]{"city": "a"}[TOOL_CALLS]now[ARGS]{', "}"]
END = 99


def answered(style: Style, words: list[str], said: tuple[int, ...] = ()) -> list[JobEvent]:
    """Return what is told of an answer that says ``words``, each a token, from where it was ``said``."""
    prompt = Prompt(
        request=request(), tokens=(1,), seed=1, max_tokens=50, said=said, shape=Shape(ear=CallEar(style))
    )  # fmt: skip
    work = Work(job="j", prompt=prompt, outlet=lambda _: None, asked_s=0.0)
    answer = Answer(work, piece=lambda token: words[token].encode(), ends=END.__eq__, clock=lambda: 0.0)
    assert answer.begin() is None
    for token in [*range(len(said), len(words)), END]:
        reason = answer.hear(token)
    assert reason is not None
    answer.end(reason)
    return work.news


def whole(events: list[JobEvent]) -> tuple[str, dict[int, tuple[str, str]]]:
    """Return the text, and of each call its name and arguments."""
    calls: dict[int, tuple[str, str]] = {}
    for event in events:
        if isinstance(event, Call):
            name, arguments = calls.get(event.index, ("", ""))
            calls[event.index] = (name + (event.name or ""), arguments + event.arguments)
    return "".join(event.t for event in events if isinstance(event, Token)), calls


@pytest.mark.parametrize(("style", "words"), [(HERMES, HERMES_WORDS), (MISTRAL_ARGS, MISTRAL_WORDS)])
def test_tokens_are_with_the_last_of_their_pieces_and_who_goes_on_from_them_misses_none(
    style: Style, words: list[str]
) -> None:
    events = answered(style, words)
    told = [event for event in events if isinstance(event, Token | Call)]
    assert any(not event.ids for event in told), "some token makes several pieces"
    assert [token for event in told for token in event.ids] == list(range(len(words)))
    for cut in range(len(told) + 1):
        kept = told[:cut]
        while kept and not kept[-1].ids:
            kept.pop()  # the queen tells nobody of half a token
        said = tuple(token for event in kept for token in event.ids)
        rest = answered(style, words, said)
        assert whole([*kept, *rest]) == whole(events), f"cut after {cut} events"
        assert isinstance(rest[-1], End)
