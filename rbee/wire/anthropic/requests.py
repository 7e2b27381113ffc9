"""The body of POST /v1/messages, and of /v1/messages/count_tokens, which is the same but for what is to be said."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rbee.wire.anthropic.blocks import messages_of, system_of
from rbee.wire.bodies import (
    MOST_TOKENS,
    Faults,
    Neutral,
    given,
    kind_of,
    opened,
    part,
    session,
    shown,
    whole,
)
from rbee.wire.fields import items, number, plain, text
from rbee.wire.formats import schema_of
from rbee.wire.functions import tools_of
from rbee.wire.jobs import JobSpec
from rbee.wire.tools import TOOL_NAME, Tool, ToolChoice

_NEUTRAL: Neutral = {
    "compaction": (None,),
    "container": (None,),
    "context_management": (None,),
    "mcp_servers": (None, []),
    "speed": (None, "standard"),
    "thinking": (None, {"type": "disabled"}),
    "thread": (None,),
}
_NEUTRAL_TOOL: Neutral = {"allowed_callers": (None, ["direct"])}
_NEUTRAL_CONFIG: Neutral = {"effort": (None,), "task_budget": (None,)}
_NAMES: Mapping[str, str] = {"stop": "stop_sequences", "schema": "output_config.format", "tool": "tool_choice.name"}
_CHOICES: Mapping[str, ToolChoice] = {
    "auto": ToolChoice.AUTO,
    "any": ToolChoice.REQUIRED,
    "tool": ToolChoice.REQUIRED,
    "none": ToolChoice.NONE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesRequest:
    spec: JobSpec
    stream: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Metadata:
    user_id: str | None = text(longest=1000, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """Messages has no ``min_p``, ``repeat_penalty``, ``seed`` and ``ignore_eos``; we do."""

    model: str = text(longest=300, shortest=1)
    messages: Any
    system: Any = None
    stop_sequences: tuple[str, ...] | None = items(longest=4, default=None)
    temperature: float | None = number(low=0, high=1, default=None)
    top_p: float | None = number(low=0, high=1, default=None)
    top_k: int | None = number(low=0, high=1000, default=None)
    min_p: float | None = number(low=0, high=1, default=None)
    repeat_penalty: float | None = number(low=0.5, high=2, default=None)
    seed: int | None = number(low=0, high=2**32 - 2, default=None)
    ignore_eos: bool | None = None
    stream: bool | None = None
    tools: Any = None
    tool_choice: Mapping[str, Any] | None = None
    metadata: _Metadata | None = None
    output_config: Mapping[str, Any] | None = None
    output_format: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Body(_Counted):
    max_tokens: int = number(low=1, high=2**31)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tool:
    name: str = text(longest=64, shortest=1, pattern=TOOL_NAME)
    description: str | None = text(longest=65_536, default=None)
    input_schema: Mapping[str, Any] = plain()
    input_examples: tuple[Any, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


def parse(body: Any) -> MessagesRequest:
    """Return what a body of POST /v1/messages asks for.

    Raises:
        InvalidRequest: ``details["fields"]`` names every wrong or unsupported field.
    """
    faults = Faults()
    faults.refuse_unless_neutral(opened(body), _NEUTRAL)
    read = whole(_Body, body, faults)
    spec = _spec(read, min(read.max_tokens, MOST_TOKENS), faults)
    return MessagesRequest(spec=spec, stream=bool(read.stream))


def parse_count(body: Any) -> JobSpec:
    """Return the job whose prompt a body of POST /v1/messages/count_tokens wants counted; it says one token.

    Raises:
        InvalidRequest: as ``parse``.
    """
    faults = Faults()
    faults.refuse_unless_neutral(opened(body), _NEUTRAL)
    return _spec(whole(_Counted, body, faults), 1, faults)


def _spec(read: _Counted, limit: int, faults: Faults) -> JobSpec:
    choice, tool, parallel = _choice(read.tool_choice, faults)
    ours = {name: getattr(read, name) for name in ("top_k", "min_p", "repeat_penalty", "seed", "ignore_eos")}
    made = JobSpec(
        model=read.model,
        messages=(*system_of(read.system, faults), *messages_of(read.messages, "messages", faults)),
        max_tokens=limit,
        temperature=1.0 if read.temperature is None else read.temperature,
        top_p=1.0 if read.top_p is None else read.top_p,
        stop=tuple(read.stop_sequences or ()),
        tools=tools_of(read.tools, faults, lambda tool, place: _tool(tool, place, faults)),
        tool_choice=choice,
        tool=tool,
        parallel_tool_calls=parallel,
        schema=_schema(read, faults),
        session=session(read.metadata.user_id if read.metadata else None),
        **given(ours),
    )
    if not faults.found:
        faults.of_generation(made, _NAMES)
    faults.done()
    return made


def _tool(tool: Any, where: str, faults: Faults) -> Tool | None:
    if not isinstance(tool, Mapping) or kind_of(tool, "custom") not in ("custom", "null"):
        faults.add(f"{where}.type", f"is {kind_of(tool)!r}, only tools of the caller's own (custom) are supported here")
        return None
    faults.refuse_unless_neutral(tool, _NEUTRAL_TOOL, where)
    read = part(_Tool, tool, where, faults)
    if read is None:
        return None
    # the model is shown the schema, and an example in it says nothing about what is valid
    examples = {"examples": list(read.input_examples)} if read.input_examples else {}
    return Tool(name=read.name, description=read.description or "", parameters={**read.input_schema, **examples})


def _choice(wanted: Any, faults: Faults) -> tuple[ToolChoice, str | None, bool]:
    """Return the choice, the one tool, and whether there may be several calls."""
    if wanted is None:
        return ToolChoice.AUTO, None, True
    read = part(_Choice, wanted, "tool_choice", faults)
    if read is None or read.type not in _CHOICES or (read.type == "tool") != (read.name is not None):
        faults.add("tool_choice", f"is {shown(wanted)}, expected type {', '.join(_CHOICES)}; a name for tool alone")
        return ToolChoice.AUTO, None, True
    return _CHOICES[read.type], read.name, not read.disable_parallel_tool_use


def _schema(read: _Counted, faults: Faults) -> Mapping[str, Any] | None:
    """Return the schema of the answer; ``output_format`` is what ``output_config.format`` was called in a beta."""
    config = read.output_config or {}
    faults.refuse_unless_neutral(config, _NEUTRAL_CONFIG, "output_config")
    wanted, where = config.get("format"), "output_config.format"
    if read.output_format is not None:
        if wanted is not None:
            faults.add("output_format", f"is the older name of {where}, which is there, too; leave it out")
        wanted, where = read.output_format, "output_format"
    return schema_of(wanted, where, faults, types=("json_schema",))
