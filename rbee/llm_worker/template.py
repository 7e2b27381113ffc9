"""A chat as the model was taught to read one."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from rbee.errors import InvalidRequest
from rbee.wire.jobs import Message, Role

Turn: TypeAlias = Mapping[str, str]
Render: TypeAlias = Callable[[Sequence[Turn]], str]


class TemplateRefused(Exception):
    """The model's own template would not take these messages; not our error, the text is the template's."""


def render_chat(messages: Sequence[Message], render: Render | None, *, model: str) -> str:
    """Return ``messages`` as the text that ``model`` continues with its answer.

    A template that refuses a system message gets it in front of the first user message instead.

    Raises:
        InvalidRequest: the model has no template, or its template takes the messages in neither form.
    """
    if render is None:
        raise InvalidRequest(
            f"messages: model {model} has no chat template",
            hint="send prompt instead of messages, or use an instruct model",
            details={"fields": [{"field": "messages", "problem": f"model {model} has no chat template"}]},
        )
    turns = [_turn(message) for message in messages]
    try:
        return render(turns)
    except TemplateRefused as refused:
        folded = _without_system(turns)
        if folded == turns:
            raise _refusal(model, refused) from None
    try:
        return render(folded)
    except TemplateRefused as refused:
        raise _refusal(model, refused) from None


def _turn(message: Message) -> Turn:
    """OpenAI renamed ``system`` to ``developer``; no model was trained on the new word."""
    role = Role.SYSTEM if message.role is Role.DEVELOPER else message.role
    return {"role": role.value, "content": message.content}


def _without_system(turns: Sequence[Turn]) -> list[Turn]:
    orders = [turn["content"] for turn in turns if turn["role"] == Role.SYSTEM]
    rest = [turn for turn in turns if turn["role"] != Role.SYSTEM]
    if not orders:
        return list(turns)
    if not rest or rest[0]["role"] != Role.USER:
        return [{"role": Role.USER.value, "content": "\n\n".join(orders)}, *rest]
    first = {"role": Role.USER.value, "content": "\n\n".join([*orders, rest[0]["content"]])}
    return [first, *rest[1:]]


def _refusal(model: str, refused: TemplateRefused) -> InvalidRequest:
    problem = f"the chat template of {model} refuses them: {str(refused)[:300]}"
    return InvalidRequest(f"messages: {problem}", details={"fields": [{"field": "messages", "problem": problem}]})
