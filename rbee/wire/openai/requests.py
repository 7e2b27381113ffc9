"""OpenAI's request bodies, read strictly where they would change the answer and leniently where not.

A field that we know and cannot honour is refused by name: an answer that silently ignores ``best_of`` is wrong.
Optional fields that change nothing (``metadata``, ``store``, …) and fields yet unknown are let through.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from rbee.wire.bodies import SEEDS, Faults, Neutral, Problem, opened, session, shown, stops, whole
from rbee.wire.fields import items, number, plain, text
from rbee.wire.formats import schema_of
from rbee.wire.functions import choice_of, function_of, tools_of
from rbee.wire.jobs import Generation, Message
from rbee.wire.openai import messages
from rbee.wire.openai.sampling import Sampled, sampling
from rbee.wire.tools import Tool

Kind: TypeAlias = Literal["chat", "completion"]

MOST_CHOICES = 32
"""Answers to one request: prompts times ``n``."""

_NEUTRAL_CHAT: Neutral = {
    "audio": (None,),
    "function_call": (None, "none", "auto"),
    "functions": (None, []),
    "modalities": (None, ["text"]),
    "moderation": (None,),
    "reasoning_effort": (None, "none"),
    "verbosity": (None, "medium"),
    "web_search_options": (None,),
}
_NEUTRAL_COMPLETION: Neutral = {"suffix": (None, "")}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAiRequest:
    """What was asked for. Each of ``generations`` holds arguments of ``wire.jobs.Generation`` for one choice, and is
    checked; ``echoes`` what each choice begins with.

    ``prompts`` is how many different ones there are; the choices of one follow each other.
    """

    kind: Kind
    model: str
    generations: Sequence[Mapping[str, Any]]
    prompts: int = 1
    echoes: Sequence[str] = field(default=())
    stream: bool = False
    include_usage: bool = False
    session: str | None = None

    @property
    def generation(self) -> Mapping[str, Any]:
        """Return that of the first choice."""
        return self.generations[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _StreamOptions:
    include_usage: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Body(Sampled):
    """Fields of both routes."""

    model: str = text(longest=300, shortest=1)
    n: int | None = number(low=1, high=MOST_CHOICES, default=None)
    max_tokens: int | None = number(low=1, high=2**31, default=None)
    logit_bias: Mapping[str, float] | None = None
    stop: str | tuple[str, ...] | None = plain(None)
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    user: str | None = text(longest=1000, default=None)
    prompt_cache_key: str | None = text(longest=1000, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ChatBody(_Body):
    messages: tuple[Message, ...] = items(longest=1000, shortest=1)
    max_completion_tokens: int | None = number(low=1, high=2**31, default=None)
    logprobs: bool | None = None
    top_logprobs: int | None = number(low=0, high=20, default=None)
    parallel_tool_calls: bool | None = None

    def problems(self) -> Iterator[Problem]:
        if self.top_logprobs and not self.logprobs:
            yield "top_logprobs", "is for logprobs, which are not asked for"


@dataclass(frozen=True, slots=True, kw_only=True)
class _CompletionBody(_Body):
    prompt: tuple[str, ...] = items(longest=MOST_CHOICES, shortest=1)
    echo: bool | None = None
    best_of: int | None = number(low=1, high=MOST_CHOICES, default=None)
    logprobs: int | None = number(low=0, high=20, default=None)

    def problems(self) -> Iterator[Problem]:
        choices = len(self.prompt) * (self.n or 1)
        if choices > MOST_CHOICES:
            yield "n", f"is {self.n}, which makes {choices} choices of these prompts, expected at most {MOST_CHOICES}"
        if self.best_of is not None and self.best_of != (self.n or 1):
            yield "best_of", f"is {self.best_of}, expected it to be n, which is {self.n or 1}, or absent"
        if self.echo and self.logprobs is not None:
            yield "echo", "with logprobs is not supported here: those of a prompt are not known"
        if not all(self.prompt):
            yield "prompt", "expected no text that is empty"


def parse_chat(body: Any) -> OpenAiRequest:
    """Return what a body of POST /v1/chat/completions asks for.

    Raises:
        InvalidRequest: ``details["fields"]`` names every wrong or unsupported field.
    """
    given, faults = opened(body), Faults()
    faults.refuse_unless_neutral(given, _NEUTRAL_CHAT)
    shape = _shape(given, faults)
    said = {"messages": messages.flat(given["messages"], faults)} if "messages" in given else {}
    asked = whole(_ChatBody, {**given, **said}, faults)
    limit = asked.max_tokens if asked.max_completion_tokens is None else asked.max_completion_tokens
    made = {
        **_sampling(asked, limit),
        **shape,
        "messages": asked.messages,
        "logprobs": (asked.top_logprobs or 0) if asked.logprobs else None,
        "parallel_tool_calls": asked.parallel_tool_calls is not False,
    }
    return _request("chat", asked, [made], faults)


def parse_completion(body: Any) -> OpenAiRequest:
    """Return what a body of POST /v1/completions asks for.

    Raises:
        InvalidRequest: ``details["fields"]`` names every wrong or unsupported field.
    """
    given, faults = opened(body), Faults()
    faults.refuse_unless_neutral(given, _NEUTRAL_COMPLETION)
    said = {"prompt": texts_of(given["prompt"], "prompt", faults)} if "prompt" in given else {}
    asked = whole(_CompletionBody, {**given, **said}, faults)
    rest = {**_sampling(asked, asked.max_tokens), "logprobs": asked.logprobs}
    return _request("completion", asked, [{"prompt": prompt, **rest} for prompt in asked.prompt], faults)


def texts_of(given: Any, where: str, faults: Faults) -> Any:
    """Return one text or a list of them as a list; tokens are refused, which only one model could read."""
    if isinstance(given, str):
        return [given]
    if isinstance(given, list) and any(isinstance(each, int | list) for each in given):
        faults.add(where, "holds tokens; send text, since every model has tokens of its own")
        return ["-"]
    return given


def _request(kind: Kind, asked: _Body, prompts: Sequence[Mapping[str, Any]], faults: Faults) -> OpenAiRequest:
    for prompt in prompts:
        if not faults.found:
            faults.of_generation(Generation(**prompt), _THEIRS)
    faults.done()
    options = asked.stream_options or _StreamOptions()
    choices = range(asked.n or 1)
    echo = isinstance(asked, _CompletionBody) and asked.echo
    return OpenAiRequest(
        kind=kind,
        model=asked.model,
        generations=[_choice(prompt, number) for prompt in prompts for number in choices],
        prompts=len(prompts),
        echoes=[str(prompt["prompt"]) for prompt in prompts for _ in choices] if echo else (),
        stream=bool(asked.stream),
        include_usage=bool(options.include_usage),
        session=session(asked.prompt_cache_key or asked.user),
    )


def _choice(generation: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    """Return ``generation`` for choice ``number``: each has a seed of its own, and the first the one that was named."""
    seed = generation["seed"]
    return generation if seed is None or number == 0 else {**generation, "seed": (seed + number) % SEEDS}


def _sampling(asked: _Body, limit: int | None) -> dict[str, Any]:
    """Return the rest of a Generation."""
    return {
        **sampling(asked, limit),
        "logit_bias": asked.logit_bias or {},
        "stop": stops(asked.stop),
    }


def _shape(body: Mapping[str, Any], faults: Faults) -> dict[str, Any]:
    """Return what of a Generation says how a chat's answer has to look, and what it may call."""
    choice, tool = choice_of(body.get("tool_choice"), faults, inside="function")
    return {
        "schema": schema_of(body.get("response_format"), "response_format", faults, inside="json_schema"),
        "tools": tools_of(body.get("tools"), faults, lambda each, where: _tool(each, where, faults)),
        "tool_choice": choice,
        "tool": tool,
    }


def _tool(tool: Any, where: str, faults: Faults) -> Tool | None:
    kind = tool.get("type") if isinstance(tool, Mapping) else None
    if kind != "function":
        faults.add(where, f"is of type {shown(kind)}, only functions are supported here")
        return None
    return function_of(tool.get("function"), f"{where}.function", faults)


_THEIRS: Mapping[str, str] = {"schema": "response_format.json_schema.schema", "tool": "tool_choice"}
