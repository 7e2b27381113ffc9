"""The body of POST /v1/responses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rbee.wire import codec
from rbee.wire.bodies import (
    Faults,
    Neutral,
    given,
    joined,
    kind_of,
    opened,
    session,
    shown,
    stops,
    whole,
)
from rbee.wire.fields import MEBIBYTE, number, plain, text
from rbee.wire.formats import schema_of
from rbee.wire.functions import choice_of, function_of, tools_of
from rbee.wire.jobs import Generation, JobSpec, Message, Role
from rbee.wire.openai.sampling import Sampled, sampling
from rbee.wire.responses.items import messages_of
from rbee.wire.tools import Tool

LIKELIHOODS = "message.output_text.logprobs"
_INCLUDES = (LIKELIHOODS, "reasoning.encrypted_content")
"""There is never any reasoning apart from what is said, so none is left out of an answer."""

_NEUTRAL: Neutral = {
    "background": (None, False),
    "context_management": (None, []),
    "conversation": (None,),
    "moderation": (None,),
    "prompt": (None,),
    "truncation": (None, "disabled"),
}
_NEUTRAL_REASONING: Neutral = {
    "effort": (None, "none"),
    "generate_summary": (None,),
    "mode": (None, "standard"),
    "summary": (None, "auto"),
}
_NEUTRAL_TOOL: Neutral = {"allowed_callers": (None, ["direct"]), "async": (None, False)}
_NEUTRAL_TEXT: Neutral = {"verbosity": (None, "medium")}
_NAMES: Mapping[str, str] = {"messages": "input", "tool": "tool_choice.name"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseRequest:
    """What was asked for.

    Attributes:
        previous: the answer that this goes on from; its conversation comes before ``messages``.
        echo: what the answer repeats of the request.
        generation: all of ``wire.jobs.Generation`` but the messages.
    """

    model: str
    instructions: str | None
    messages: tuple[Message, ...]
    generation: Mapping[str, Any]
    echo: Mapping[str, Any]
    previous: str | None = None
    store: bool = True
    stream: bool = False
    session: str | None = None

    def spec(self, before: tuple[Message, ...] = ()) -> JobSpec:
        """Return the job, after the conversation ``before``. Raises as ``asked``."""
        return JobSpec(model=self.model, session=self.session, **self.asked(before))

    def asked(self, before: tuple[Message, ...] = ()) -> Mapping[str, Any]:
        """Return all of ``wire.jobs.Generation``, after the conversation ``before``.

        Raises:
            InvalidRequest: the two are too long together.
        """
        first = () if self.instructions is None else (Message(role=Role.SYSTEM, content=self.instructions),)
        messages = (*first, *before, *self.messages)
        made = {**self.generation, "messages": messages}
        if before:  # by themselves they were looked at as they were read
            _check(made)
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class _Body(Sampled):
    """Responses has no ``stop`` and ``seed``; we do."""

    model: str = text(longest=300, shortest=1)
    input: Any
    instructions: str | None = text(longest=MEBIBYTE, default=None)
    previous_response_id: str | None = text(longest=64, shortest=1, default=None)
    store: bool | None = None
    stream: bool | None = None
    max_output_tokens: int | None = number(low=1, high=2**31, default=None)
    stop: str | tuple[str, ...] | None = plain(None)
    parallel_tool_calls: bool | None = None
    top_logprobs: int | None = number(low=0, high=20, default=None)
    include: tuple[str, ...] | None = None
    metadata: Mapping[str, str] | None = None
    tools: Any = None
    tool_choice: Any = None
    reasoning: Mapping[str, Any] | None = None
    user: str | None = text(longest=1000, default=None)
    prompt_cache_key: str | None = text(longest=1000, default=None)
    text: Mapping[str, Any] | None = None


def parse(body: Any) -> ResponseRequest:
    """Return what a body of POST /v1/responses asks for.

    Raises:
        InvalidRequest: ``details["fields"]`` names every wrong or unsupported field.
    """
    faults = Faults()
    faults.refuse_unless_neutral(opened(body), _NEUTRAL)
    read = whole(_Body, body, faults)
    faults.refuse_unless_neutral(read.reasoning or {}, _NEUTRAL_REASONING, "reasoning")
    made = ResponseRequest(
        model=read.model,
        instructions=read.instructions,
        messages=messages_of(read.input, "input", faults),
        generation=_generation(read, faults),
        echo=_echo(read),
        previous=read.previous_response_id,
        store=read.store is not False,
        stream=bool(read.stream),
        session=session(read.prompt_cache_key or read.user),
    )
    _refuse_half_characters(made.echo, faults)
    faults.done()
    _check(made.asked())
    return made


def _check(asked: Mapping[str, Any]) -> None:
    """Raise InvalidRequest for what a job may not be."""
    faults, messages = Faults(), asked["messages"]
    faults.of_generation(Generation(**asked), _NAMES)
    if len(messages) > 1000:
        faults.add("input", f"has {len(messages)} messages with those before it, expected at most 1000")
    faults.done()


def parse_again(query: Mapping[str, str]) -> int | None:
    """Return after which of its events GET /v1/responses/{id} is to stream an answer; None: it is wanted as it is.

    Raises:
        InvalidRequest: as ``parse``.
    """
    faults = Faults()
    stream, after = query.get("stream", "false").lower(), query.get("starting_after", "-1")
    if stream not in ("true", "false"):
        faults.add("stream", f"is {shown(stream)}, expected true or false")
    if after != "-1" and not (after.isascii() and after.isdigit() and len(after) < 10):
        faults.add("starting_after", f"is {shown(after)}, expected the number of an event")
    elif after != "-1" and stream == "false":
        faults.add("starting_after", "is for stream=true")
    faults.done()
    return int(after) if stream == "true" else None


def _generation(read: _Body, faults: Faults) -> dict[str, Any]:
    choice, tool = choice_of(read.tool_choice, faults)
    return {
        **sampling(read, read.max_output_tokens),
        "stop": stops(read.stop),
        "schema": _schema(read.text or {}, faults),
        "tools": tools_of(read.tools, faults, lambda tool, place: _tool(tool, place, faults)),
        "tool_choice": choice,
        "tool": tool,
        "parallel_tool_calls": read.parallel_tool_calls is not False,
        "logprobs": _logprobs(read, faults),
    }


def _logprobs(read: _Body, faults: Faults) -> int | None:
    for name in read.include or ():
        if name not in _INCLUDES:
            faults.add("include", f"has {shown(name)}, which is not supported here; leave it out")
    if LIKELIHOODS in (read.include or ()) or read.top_logprobs:
        return read.top_logprobs or 0
    return None


def _schema(config: Mapping[str, Any], faults: Faults) -> Mapping[str, Any] | None:
    faults.refuse_unless_neutral(config, _NEUTRAL_TEXT, "text")
    return schema_of(config.get("format"), "text.format", faults)


def _tool(tool: Any, where: str, faults: Faults) -> Tool | None:
    if kind_of(tool) != "function":
        faults.add(joined(where, "type"), f"is {kind_of(tool)!r}, only function is supported here")
        return None
    faults.refuse_unless_neutral(tool, _NEUTRAL_TOOL, where)
    return function_of(tool, where, faults)


def _echo(read: _Body) -> dict[str, Any]:
    """Return what an answer says of its request; a tool and a format as they were given."""
    return {
        "instructions": read.instructions,
        "max_output_tokens": read.max_output_tokens,
        "metadata": dict(read.metadata or {}),
        "model": read.model,
        "parallel_tool_calls": read.parallel_tool_calls is not False,
        "previous_response_id": read.previous_response_id,
        "temperature": 1.0 if read.temperature is None else read.temperature,
        "text": {"format": {"type": "text"}, **given(read.text or {})},
        "tool_choice": read.tool_choice or "auto",
        "tools": [_told(tool) for tool in read.tools or ()],
        "top_p": 1.0 if read.top_p is None else read.top_p,
        **given({name: getattr(read, name) for name in ("top_logprobs", "user", "prompt_cache_key")}),
    }


def _refuse_half_characters(echo: Mapping[str, Any], faults: Faults) -> None:
    """What is repeated is written down and sent, also what nobody here knows the meaning of."""
    for name, value in echo.items():
        if not codec.is_text(value):
            faults.add(name, codec.HALF)


def _told(tool: Any) -> Any:
    return {"parameters": None, "strict": None, **tool} if isinstance(tool, Mapping) else tool
