"""A chat as the model was taught to read one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from rbee.errors import InvalidRequest
from rbee.llm_worker.calling.style import Manner, manner_of
from rbee.llm_worker.calling.told import Turn, function_of, speaks_of_tools, turns_in_words, turns_of
from rbee.wire.jobs import Message, Role
from rbee.wire.tools import Tool

__all__ = ["Render", "TemplateRefused", "Turn", "render_chat"]

Render: TypeAlias = Callable[[Sequence[Turn], Sequence[Mapping[str, Any]]], str]
"""A chat template: turns and tools to text."""


class TemplateRefused(Exception):
    """The model's own template would not take these messages; not our error, the text is the template's."""


def render_chat(
    messages: Sequence[Message],
    render: Render | None,
    *,
    model: str,
    tools: Sequence[Tool] = (),
    manner: Manner | None = None,
) -> str:
    """Return ``messages`` as the text that ``model`` continues with its answer.

    A template that refuses a system message gets it in front of the first user message instead; one that knows
    nothing of tools gets them, calls and their results in words.

    Args:
        tools: those that the model may call now.
        manner: how it is told of them; found out here where it is not known.

    Raises:
        InvalidRequest: the model has no template, or its template takes the messages in no form.
    """
    if render is None:
        raise InvalidRequest(
            f"messages: model {model} has no chat template",
            hint="send prompt instead of messages, or use an instruct model",
            details={"fields": [{"field": "messages", "problem": f"model {model} has no chat template"}]},
        )
    refusal: TemplateRefused | None = None
    for turns, functions in _forms(messages, tools, render, manner):
        try:
            return render(turns, functions)
        except TemplateRefused as refused:
            refusal = refusal or refused
    raise _refusal(model, refusal or TemplateRefused(""))


Form: TypeAlias = tuple[Sequence[Turn], Sequence[Mapping[str, Any]]]


def _forms(messages: Sequence[Message], tools: Sequence[Tool], render: Render, manner: Manner | None) -> Iterator[Form]:
    """Yield the ways to say ``messages``, best first."""
    if not tools and not speaks_of_tools(messages):
        yield from _with_and_without_system(turns_of(messages), ())
        return
    manner = manner or manner_of(render, "")
    if manner.told_by_template:
        functions = [function_of(tool) for tool in tools]
        for as_text in (False, True):
            turns = turns_of(messages, short_ids=manner.style.short_ids, as_text=as_text)
            yield from _with_and_without_system(turns, functions)
        return
    yield from _with_and_without_system(turns_in_words(messages, tools), ())


def _with_and_without_system(turns: Sequence[Turn], functions: Sequence[Mapping[str, Any]]) -> Iterator[Form]:
    yield turns, functions
    folded = _without_system(turns)
    if folded != turns:
        yield folded, functions


def _without_system(turns: Sequence[Turn]) -> list[Turn]:
    orders = [str(turn["content"]) for turn in turns if turn["role"] == Role.SYSTEM]
    rest = [turn for turn in turns if turn["role"] != Role.SYSTEM]
    if not orders:
        return list(turns)
    if not rest or rest[0]["role"] != Role.USER:
        return [{"role": Role.USER.value, "content": "\n\n".join(orders)}, *rest]
    first = {**rest[0], "content": "\n\n".join([*orders, str(rest[0]["content"])])}
    return [first, *rest[1:]]


def _refusal(model: str, refused: TemplateRefused) -> InvalidRequest:
    problem = f"the chat template of {model} refuses them: {str(refused)[:300]}"
    return InvalidRequest(f"messages: {problem}", details={"fields": [{"field": "messages", "problem": problem}]})
