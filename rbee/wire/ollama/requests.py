"""The bodies of /api/chat, /api/generate, and of what only names a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rbee.wire.bodies import ANY_OBJECT, Faults, Neutral, opened, shown, whole
from rbee.wire.fields import MEBIBYTE, number, text
from rbee.wire.functions import function_of, tools_of
from rbee.wire.jobs import JobSpec, Message, Role
from rbee.wire.ollama.history import messages_of
from rbee.wire.ollama.models import name_of
from rbee.wire.ollama.options import leaves, options_of, sampling
from rbee.wire.tools import Tool

_NEUTRAL: Neutral = {"think": (None, False)}
_NEUTRAL_GENERATE: Neutral = {
    **_NEUTRAL,
    "context": (None, []),
    "height": (None, 0),
    "images": (None, []),
    "steps": (None, 0),
    "suffix": (None, ""),
    "template": (None, ""),
    "width": (None, 0),
}
_NAMES: Mapping[str, str] = {"stop": "options.stop", "schema": "format"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaRequest:
    """What was asked for.

    Attributes:
        called: the model as the caller spelt it, which is how the answer spells it.
        spec: None where nothing is to be said: the model is to be there, or to leave.
        num_ctx: how long a context is wanted; None where that was not said.
        leave: the model is to leave its memory after the answer.
    """

    called: str
    model: str
    spec: JobSpec | None
    chat: bool
    stream: bool
    num_ctx: int | None
    leave: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    model: str | None = text(longest=300, default=None)
    name: str | None = text(longest=300, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Body:
    model: str = text(longest=300, shortest=1)
    stream: bool | None = None
    format: Any = None
    options: Any = None
    keep_alive: Any = None
    logprobs: bool | None = None
    top_logprobs: int | None = number(low=0, high=20, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chat(_Body):
    messages: Any = None
    tools: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Generate(_Body):
    prompt: str | None = text(longest=MEBIBYTE, default=None)
    system: str | None = text(longest=MEBIBYTE, default=None)
    raw: bool | None = None


def parse_name(body: Any) -> str:
    """Return the model that a body names, as ``model`` or, as older clients do, as ``name``.

    Raises:
        InvalidRequest: it names none.
    """
    faults = Faults()
    read = whole(_Named, opened(body), faults)
    called = read.model or read.name
    if not called:
        faults.add("model", "is missing")
        faults.done()
    return called or ""


def parse_chat(body: Any) -> OllamaRequest:
    """Return what a body of POST /api/chat asks for.

    Raises:
        InvalidRequest: ``details["fields"]`` names every wrong or unsupported field.
    """
    faults = Faults()
    faults.refuse_unless_neutral(opened(body), _NEUTRAL)
    read = whole(_Chat, body, faults)
    messages = messages_of(read.messages, "messages", faults) if read.messages else ()
    tools = tools_of(read.tools, faults, lambda tool, place: _tool(tool, place, faults))
    wanted = {"messages": messages, "tools": tools} if messages else {}
    return _request(read, wanted, faults, chat=True)


def parse_generate(body: Any) -> OllamaRequest:
    """Return what a body of POST /api/generate asks for; without ``raw`` a prompt is what a user says in a chat.

    Raises:
        InvalidRequest: ``details["fields"]`` names every wrong or unsupported field.
    """
    faults = Faults()
    faults.refuse_unless_neutral(opened(body), _NEUTRAL_GENERATE)
    read = whole(_Generate, body, faults)
    if read.raw and read.system:
        faults.add("system", "is for a template, and raw wants none")
    return _request(read, _prompt(read), faults, chat=False)


def _prompt(read: _Generate) -> Mapping[str, Any]:
    if not read.prompt:
        return {}
    if read.raw:
        return {"prompt": read.prompt}
    system = (Message(role=Role.SYSTEM, content=read.system),) if read.system else ()
    return {"messages": (*system, Message(role=Role.USER, content=read.prompt))}


def _request(read: _Body, wanted: Mapping[str, Any], faults: Faults, *, chat: bool) -> OllamaRequest:
    options, model = options_of(read.options, faults), name_of(read.model)
    schema, rivals = _schema(read.format, faults), read.top_logprobs
    logprobs = (rivals or 0) if read.logprobs or rivals else None
    spec: JobSpec | None = None
    if wanted and not faults.found:
        spec = JobSpec(model=model, schema=schema, logprobs=logprobs, **wanted, **sampling(options))
        faults.of_generation(spec, _NAMES)
    leave = leaves(read.keep_alive, faults)
    faults.done()
    return OllamaRequest(
        called=read.model,
        model=model,
        spec=spec,
        chat=chat,
        stream=read.stream is not False,
        num_ctx=options.num_ctx,
        leave=leave,
    )


def _schema(given: Any, faults: Faults) -> Mapping[str, Any] | None:
    if given is None or given == "":
        return None
    if given == "json":
        return ANY_OBJECT
    if not isinstance(given, Mapping):
        faults.add("format", f"is {shown(given)}, expected json, or a JSON schema")
        return None
    return given


def _tool(tool: Any, where: str, faults: Faults) -> Tool | None:
    if not isinstance(tool, Mapping) or tool.get("type", "function") not in (None, "function"):
        faults.add(where, f"is {shown(tool)}, expected a tool of type function")
        return None
    return function_of(tool.get("function"), f"{where}.function", faults)
