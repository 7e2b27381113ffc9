"""A job: what a caller wants generated (JobSpec), and what is known of it (JobStatus)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rbee.wire import codec
from rbee.wire.fields import JOB_ID, MEBIBYTE, items, name, number, plain, sparse, text
from rbee.wire.tools import Tool, ToolCall, ToolChoice

MOST_TOOLS = 128
MOST_STOPS = 4


class JobState(StrEnum):
    QUEUED = "queued"
    DISPATCHED = "dispatched"
    RUNNING = "running"
    RETRIED = "retried"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        return self in (JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED)


class Priority(StrEnum):
    INTERACTIVE = "interactive"
    BATCH = "batch"


class Role(StrEnum):
    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Work(StrEnum):
    """What a model is to do: say what follows, turn texts into vectors, or judge documents by a query."""

    GENERATE = "generate"
    EMBED = "embed"
    RERANK = "rerank"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """``tool_calls`` are an assistant's; ``tool_call_id`` says which of them a tool's message answers, ``name`` who
    speaks or which tool does, for templates that tell.
    """

    role: Role
    content: str = text(longest=MEBIBYTE)
    tool_calls: tuple[ToolCall, ...] = sparse((), longest=MOST_TOOLS)
    tool_call_id: str | None = sparse(None)
    name: str | None = sparse(None, longest=64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What to generate and how: shared by a job at the queen and a request at a worker.

    ``work`` says what is wanted of the model; all but ``inputs`` and ``query`` is for ``generate`` alone.
    """

    work: Work = Work.GENERATE
    inputs: tuple[str, ...] = items(longest=2048, default=(), doc="texts to embed, or documents to rerank")
    query: str | None = text(longest=MEBIBYTE, shortest=1, default=None, doc="what documents are reranked by")
    prompt: str | None = text(longest=MEBIBYTE, shortest=1, default=None, doc="raw text; or messages")
    messages: tuple[Message, ...] | None = items(longest=1000, shortest=1, default=None, doc="a chat; or prompt")
    max_tokens: int = number(low=1, high=32_768, default=256, unit="tokens")
    temperature: float = number(low=0, high=2, default=0.8, doc="0 is greedy")
    top_p: float = number(low=0, high=1, default=0.95)
    top_k: int = number(low=0, high=1000, default=40, doc="0 is off")
    min_p: float = number(low=0, high=1, default=0.05)
    repeat_penalty: float = number(low=0.5, high=2, default=1.0, doc="1 is off")
    stop: tuple[str, ...] = items(longest=MOST_STOPS, default=(), doc="end before any of these")
    seed: int | None = number(low=0, high=2**32 - 2, default=None, doc="absent: chosen, and reported")
    ignore_eos: bool = plain(False, doc="never let the model end by itself; for measurements of a known length")
    frequency_penalty: float = number(low=-2, high=2, default=0.0, doc="0 is off")
    presence_penalty: float = number(low=-2, high=2, default=0.0, doc="0 is off")
    logit_bias: Mapping[str, float] = plain({}, doc="by the model's number of a token, -100..100")
    logprobs: int | None = number(low=0, high=20, default=None, doc="absent: none; else so many rivals of each token")
    schema: Mapping[str, Any] | None = plain(None, doc="JSON schema: the answer is JSON that validates against it")
    tools: tuple[Tool, ...] = items(longest=MOST_TOOLS, default=(), doc="functions the model may call")
    tool_choice: ToolChoice = ToolChoice.AUTO
    tool: str | None = plain(None, doc="the one tool that has to be called; then tool_choice is required")
    parallel_tool_calls: bool = plain(True, doc="several calls in one answer")

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.work is not Work.GENERATE:
            yield from self._problems_of_inputs()
            return
        if (self.prompt is None) == (self.messages is None):
            yield "prompt", "expected exactly one of prompt and messages"
        yield from self._problems_of_tools()
        for token, bias in self.logit_bias.items():
            if not (token.isascii() and token.isdigit() and len(token) < 10 and -100 <= bias <= 100):
                yield "logit_bias", f"has {token[:40]!r}: {bias}, expected a token's number and -100..100"
        if len(self.stop) > MOST_STOPS:
            yield "stop", f"has {len(self.stop)} items, expected at most {MOST_STOPS}"
        if any(not word or _size(word) > 256 for word in self.stop):
            yield "stop", "expected strings of 1..256 bytes"

    def excess(self) -> Iterator[tuple[str, str]]:
        """What the model reads is limited, and so is all that this is computed from.

        Asked where a job comes in, and not of one that is here already: it was accepted by the limits of its day.
        """
        if self.work is not Work.GENERATE:
            return
        said = sum(map(_size, self._texts()))
        shapes = sum(map(codec.json_bytes, self._shapes()))
        if said + shapes > MEBIBYTE:
            what = f"with tools and schema ({shapes} bytes)" if shapes else "together"
            where, are = ("prompt", "is") if self.messages is None else ("messages", "are")
            yield where, f"{are} {said + shapes} bytes long {what}, expected at most {MEBIBYTE}"

    def _shapes(self) -> Iterator[Mapping[str, Any]]:
        for tool in self.tools:
            yield {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
        if self.schema:
            yield self.schema

    def _texts(self) -> Iterator[str]:
        yield self.prompt or ""
        for message in self.messages or ():
            yield message.content
            yield message.name or ""
            for call in message.tool_calls:
                yield call.name
                yield call.arguments

    def _problems_of_inputs(self) -> Iterator[tuple[str, str]]:
        if not self.inputs or not all(self.inputs):
            yield "inputs", "expected at least one text, and none that is empty"
        if sum(map(_size, self.inputs)) > 4 * MEBIBYTE:
            yield "inputs", f"are longer than {4 * MEBIBYTE} bytes together"
        if (self.query is None) == (self.work is Work.RERANK):
            yield "query", "expected for rerank, and for nothing else"
        if self.prompt is not None or self.messages is not None:
            yield "prompt", f"is for {Work.GENERATE}, not for {self.work}"

    def _problems_of_tools(self) -> Iterator[tuple[str, str]]:
        names = [tool.name for tool in self.tools]
        if len(set(names)) < len(names):
            yield "tools", "has two of one name"
        if self.tools and self.messages is None:
            yield "tools", "are for messages"
        if self.tool_choice is ToolChoice.REQUIRED and not names:
            yield "tool_choice", "is required, and there are no tools"
        if self.tool is not None and (self.tool not in names or self.tool_choice is not ToolChoice.REQUIRED):
            yield "tool", f"is {self.tool[:64]!r}, expected the name of one of the tools, and tool_choice required"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a job may run; absent means anywhere."""

    pool: str | None = name(default=None)
    backend: str | None = name(default=None)
    gpu: int | None = number(low=0, high=63, default=None)
    draining: bool = plain(False, doc="also on that pool while it drains, to try it before it gets other work")

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.draining and self.pool is None:
            yield "draining", "is for a pool that is named"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec(Generation):
    """What the caller wants done. The queen answers with a JobStatus."""

    model: str = text(longest=300, shortest=1, doc="alias or reference")
    priority: Priority = Priority.INTERACTIVE
    deadline_ms: int | None = number(low=1, high=86_400_000, default=None, unit="ms")
    placement: Placement = Placement()
    session: str | None = text(
        longest=64, pattern=JOB_ID, default=None, doc="what belongs together: one share of the queue, one warm worker"
    )
    id: str | None = text(longest=64, pattern=JOB_ID, default=None, doc="makes the submit idempotent")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """What is known of a job. Times are milliseconds since the epoch."""

    id: str
    state: JobState
    model: str
    priority: Priority = Priority.INTERACTIVE
    caller: str = ""
    created_ms: int = 0
    started_ms: int | None = None
    finished_ms: int | None = None
    queue_position: int | None = plain(None, doc="0 is next; null once dispatched")
    predicted_start_ms: int | None = plain(None, unit="ms", doc="from now; null where nothing is known yet")
    reason: str = plain("", doc="why it is where it is")
    attempts: int = 0
    pool: str | None = None
    worker: str | None = None
    seed: int | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    stop_reason: str | None = None
    error: Mapping[str, Any] | None = None
    events_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobQuery:
    """Filters of GET /v2/tasks; newest first."""

    state: JobState | None = None
    model: str | None = text(longest=300, default=None)
    limit: int = number(low=1, high=1000, default=100)
    after: str | None = text(longest=64, default=None, doc="the last id of the page before")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a job waits, where it went, what was tried."""

    id: str
    state: JobState
    reason: str
    decisions: tuple[Mapping[str, Any], ...] = ()


def _size(text: str) -> int:
    """Return its UTF-8 bytes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
