"""OpenAI's request bodies, read strictly where they would change the answer and leniently where not.

A field that we know and cannot honour is refused by name: an answer that silently ignores ``logit_bias`` is wrong.
Optional fields that change nothing (``metadata``, ``store``, …) and fields yet unknown are let through.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal, TypeAlias, TypeVar

from rbee.errors import InvalidRequest
from rbee.wire import codec
from rbee.wire.fields import JOB_ID, MEBIBYTE, items, number, plain, text
from rbee.wire.jobs import Generation, Message

Kind: TypeAlias = Literal["chat", "completion"]
Problem: TypeAlias = tuple[str, str]

DEFAULT_MAX_TOKENS = 1024
"""When the caller names no limit; a worker clips it to what its context leaves."""

_MOST_TOKENS = 32_768
_MOST_STOPS = 4
_SEEDS = 2**32 - 1
_NEUTRAL_OF_BOTH: Mapping[str, tuple[Any, ...]] = {
    "n": (None, 1),
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
    "logit_bias": (None, {}),
}
_NEUTRAL_CHAT: Mapping[str, tuple[Any, ...]] = {
    **_NEUTRAL_OF_BOTH,
    "audio": (None,),
    "function_call": (None, "none", "auto"),
    "functions": (None, []),
    "logprobs": (None, False),
    "modalities": (None, ["text"]),
    "moderation": (None,),
    "reasoning_effort": (None, "none"),
    "response_format": (None, {"type": "text"}),
    "tool_choice": (None, "none", "auto"),
    "tools": (None, []),
    "top_logprobs": (None, 0),
    "verbosity": (None, "medium"),
    "web_search_options": (None,),
}
_NEUTRAL_COMPLETION: Mapping[str, tuple[Any, ...]] = {
    **_NEUTRAL_OF_BOTH,
    "best_of": (None, 1),
    "echo": (None, False),
    "logprobs": (None,),
    "suffix": (None, ""),
}
"""Values under which an unsupported field asks for nothing; any other is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAiRequest:
    """What was asked for. ``generation`` holds arguments of ``wire.jobs.Generation`` and is checked."""

    kind: Kind
    model: str
    generation: Mapping[str, Any]
    stream: bool = False
    include_usage: bool = False
    user: str = ""

    @property
    def session(self) -> str | None:
        """Return whom the client speaks for, as a name; what is none is hashed."""
        if not self.user or JOB_ID.fullmatch(self.user):
            return self.user or None
        return f"user-{sha256(self.user.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _StreamOptions:
    include_usage: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Body:
    """Fields of both routes. OpenAI has no ``top_k``, ``min_p``, ``repeat_penalty`` and ``ignore_eos``."""

    model: str = text(longest=300, shortest=1)
    max_tokens: int | None = number(low=1, high=2**31, default=None)
    temperature: float | None = number(low=0, high=2, default=None)
    top_p: float | None = number(low=0, high=1, default=None)
    top_k: int | None = number(low=0, high=1000, default=None)
    min_p: float | None = number(low=0, high=1, default=None)
    repeat_penalty: float | None = number(low=0.5, high=2, default=None)
    ignore_eos: bool | None = None
    stop: str | tuple[str, ...] | None = plain(None)
    seed: int | None = number(low=-(2**63), high=2**64, default=None)
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    user: str | None = text(longest=1000, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ChatBody(_Body):
    messages: tuple[Message, ...] = items(longest=1000, shortest=1)
    max_completion_tokens: int | None = number(low=1, high=2**31, default=None)

    def problems(self) -> Iterator[Problem]:
        yield from Generation(messages=self.messages, stop=_stops(self.stop)).problems()


@dataclass(frozen=True, slots=True, kw_only=True)
class _CompletionBody(_Body):
    prompt: str = text(longest=MEBIBYTE, shortest=1)

    def problems(self) -> Iterator[Problem]:
        yield from Generation(prompt=self.prompt, stop=_stops(self.stop)).problems()


B = TypeVar("B", bound=_Body)


def parse_chat(body: Any) -> OpenAiRequest:
    """Return what a body of POST /v1/chat/completions asks for.

    Raises:
        InvalidRequest: ``details["fields"]`` names every wrong or unsupported field.
    """
    data, problems = _prepared(body, _NEUTRAL_CHAT, "messages", _flat_messages)
    read = _read(_ChatBody, data, problems)
    limit = read.max_tokens if read.max_completion_tokens is None else read.max_completion_tokens
    return _request("chat", read, limit, messages=read.messages)


def parse_completion(body: Any) -> OpenAiRequest:
    """Return what a body of POST /v1/completions asks for.

    Raises:
        InvalidRequest: ``details["fields"]`` names every wrong or unsupported field.
    """
    data, problems = _prepared(body, _NEUTRAL_COMPLETION, "prompt", _one_prompt)
    read = _read(_CompletionBody, data, problems)
    return _request("completion", read, read.max_tokens, prompt=read.prompt)


def _prepared(
    body: Any,
    neutral: Mapping[str, tuple[Any, ...]],
    content: str,
    flatten: Callable[[Any, list[Problem]], Any],
) -> tuple[dict[str, Any], list[Problem]]:
    """Return ``body`` with its content flattened to text, and what was wrong so far."""
    if not isinstance(body, Mapping):
        raise codec.invalid([("", "is not a JSON object")])
    problems = [
        (field, f"is {_shown(body[field])}, which is not supported here; leave it out")
        for field, harmless in neutral.items()
        if field in body and not any(_equal(body[field], value) for value in harmless)
    ]
    data = {str(key): value for key, value in body.items()}
    if content in data:
        data[content] = flatten(data[content], problems)
    return data, problems


def _read(kind: type[B], data: Mapping[str, Any], problems: list[Problem]) -> B:
    """Return ``data`` as a ``kind``, or raise with its problems and those found before, in one error."""
    try:
        read = codec.from_dict(kind, data, lenient=True)
    except InvalidRequest as error:
        found = [(each["field"], each["problem"]) for each in error.details["fields"]]
        raise codec.invalid(problems + found) from None
    if len(_stops(read.stop)) > _MOST_STOPS:
        problems.append(("stop", f"has {len(_stops(read.stop))} items, expected at most {_MOST_STOPS}"))
    if problems:
        raise codec.invalid(problems)
    return read


def _request(kind: Kind, read: _Body, limit: int | None, **content: Any) -> OpenAiRequest:
    options = read.stream_options or _StreamOptions()
    return OpenAiRequest(
        kind=kind,
        model=read.model,
        generation={**content, **_sampling(read, limit)},
        stream=bool(read.stream),
        include_usage=bool(options.include_usage),
        user=read.user or "",
    )


def _sampling(read: _Body, limit: int | None) -> dict[str, Any]:
    """Return the rest of a Generation. What OpenAI has gets OpenAI's default, what it has not gets ours."""
    ours = {name: getattr(read, name) for name in ("top_k", "min_p", "repeat_penalty", "ignore_eos")}
    return {
        "max_tokens": min(limit or DEFAULT_MAX_TOKENS, _MOST_TOKENS),
        "temperature": 1.0 if read.temperature is None else read.temperature,
        "top_p": 1.0 if read.top_p is None else read.top_p,
        "stop": _stops(read.stop),
        # OpenAI takes any 64-bit number, llama.cpp 32 bits; the same number still means the same text
        "seed": None if read.seed is None else read.seed % _SEEDS,
        **{name: value for name, value in ours.items() if value is not None},
    }


def _stops(given: str | Sequence[str] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else tuple(given)


def _flat_messages(messages: Any, problems: list[Problem]) -> Any:
    """Return ``messages`` with each content as one text; what is no list of objects is left for the codec."""
    if not isinstance(messages, list):
        return messages
    return [_flat_message(message, f"messages[{n}]", problems) for n, message in enumerate(messages)]


def _flat_message(message: Any, where: str, problems: list[Problem]) -> Any:
    if not isinstance(message, Mapping):
        return message
    called = [key for key in ("tool_calls", "function_call", "audio") if message.get(key)]
    problems.extend((f"{where}.{key}", "is not supported here; leave it out") for key in called)
    if called and message.get("content") is None:
        return {**message, "content": ""}
    if isinstance(message.get("content"), list):
        return {**message, "content": _joined(message["content"], f"{where}.content", problems)}
    return message


def _joined(parts: list[Any], where: str, problems: list[Problem]) -> str:
    """Return the text of ``parts``; a part that is no text is a problem."""
    texts: list[str] = []
    for n, part in enumerate(parts):
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind == "text":
            problems.append((f"{where}[{n}].text", "is missing or no text"))
        else:
            what = f"type {_shown(kind)}" if kind is not None else _shown(part)
            problems.append((f"{where}[{n}]", f"is {what}, only text parts are supported here"))
    return "".join(texts)


def _one_prompt(prompt: Any, problems: list[Problem]) -> Any:
    """Return the one text in ``prompt``; several, or tokens, are refused."""
    if not isinstance(prompt, list):
        return prompt
    if len(prompt) == 1 and isinstance(prompt[0], str):
        return prompt[0]
    problems.append(("prompt", "is a list, only one text is supported here; send one request for each"))
    return "-"


def _equal(given: Any, neutral: Any) -> bool:
    """JSON's equality: ``true`` is not ``1``."""
    return isinstance(given, bool) == isinstance(neutral, bool) and bool(given == neutral)


def _shown(value: Any) -> str:
    shown = json.dumps(value, default=str)
    return shown if len(shown) <= 60 else f"{shown[:57]}…"
