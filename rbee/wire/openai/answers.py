"""Our events as OpenAI's answers: chunks, whole objects, the list of models."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rbee.errors import Conflict, RbeeError, WorkerLost
from rbee.wire import codec
from rbee.wire.events import Call, End, Failure, JobEvent, Started, StopReason, Token
from rbee.wire.openai.choices import Choice
from rbee.wire.openai.errors import error_frame
from rbee.wire.openai.requests import OpenAiRequest
from rbee.wire.sse import Frame

DONE = Frame(event="", data="[DONE]")

_NUL = codec.dump_json("\0")


@dataclass(slots=True, kw_only=True)
class Renderer:
    """Turns the events of one job, or of several that are the choices of one answer, into that answer.

    Args:
        wanted: what was asked for.
        id: shown to the caller; a job's id, so that ``journalctl JOB=…`` finds it.
        created: seconds since the epoch.
    """

    wanted: OpenAiRequest
    id: str
    created: int
    _choices: Sequence[Choice] = field(init=False)
    _likely: bool = field(init=False)
    _around: dict[int, tuple[str, str]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._likely = self.wanted.generation.get("logprobs") is not None
        kind, count = self.wanted.kind, len(self.wanted.generations)
        echoes = self.wanted.echoes or [""] * count
        self._choices = [Choice(kind=kind, index=n, echo=echo) for n, echo in enumerate(echoes)]

    def frames(self, event: JobEvent, index: int = 0) -> list[Frame]:
        """Return what a stream says on ``event`` of choice ``index``; after the last ``end`` comes ``[DONE]``, after an
        error nothing.
        """
        if isinstance(event, Token) and not self._likely and self._choices[index].begun:
            return [Frame(event="", data=self._said(event.t, index))]
        error = self._error(event)
        if error is not None:
            return [error_frame(error)]
        said = [Frame(event="", data=codec.dump_json(chunk)) for chunk in self.chunks(event, index)]
        return [*said, DONE] if isinstance(event, End) and self._ended else said

    def chunks(self, event: JobEvent, index: int = 0) -> list[dict[str, Any]]:
        """Return the chunk objects for ``event``; none for what OpenAI has no word for."""
        choice = self._choices[index]
        match event:
            case Started():
                said = choice.opening()
            case Token():
                said = [*choice.opening(), choice.said(event)]
            case Call():
                said = [*choice.opening(), choice.called(event)]
            case End():
                said = [*choice.opening(), choice.closing(event)]
            case _:
                return []
        chunks = [self._chunk([piece]) for piece in said]
        if self._ended and self.wanted.include_usage:
            chunks.append(self._chunk([]) | {"usage": self._usage()})
        return chunks

    def whole(self, events: Iterable[tuple[int, JobEvent]]) -> dict[str, Any]:
        """Return the answer to a request that does not stream; each event with the number of its choice.

        Raises:
            RbeeError: the failure among ``events``; Conflict when it was cancelled; WorkerLost when it never ended.
        """
        told = 0
        for index, event in events:
            error = self._error(event)
            if error is not None:
                raise error
            if isinstance(event, Token | Call | End):
                told += isinstance(event, Token)
                self._choices[index].keep(event)
        if not self._ended:
            raise WorkerLost(f"the answer to {self.id} broke off after {told} tokens", hint="send it again")
        choices = [choice.whole(likely=self._likely) for choice in self._choices]
        return self._base("chat.completion") | {"choices": choices, "usage": self._usage()}

    @property
    def _ended(self) -> bool:
        return all(choice.end is not None for choice in self._choices)

    def _error(self, event: JobEvent) -> RbeeError | None:
        """OpenAI has no finish reason for a cancelled answer; calling it complete would be a lie."""
        if isinstance(event, Failure):
            return event.to_error()
        if isinstance(event, End) and event.stop_reason is StopReason.CANCELLED:
            return Conflict(f"{self.id} was cancelled before its answer was complete")
        return None

    def _said(self, text: str, index: int) -> str:
        """Return the JSON of a chunk that says ``text``; all but that is the same in each, and written once."""
        around = self._around.get(index)
        if around is None:
            chunk = self._chunk([self._choices[index].said(Token(i=0, t="\0"))])
            before, _, after = codec.dump_json(chunk).partition(_NUL)
            around = self._around[index] = before, after
        before, after = around
        return f"{before}{codec.dump_text(text)}{after}"

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        usage = {"usage": None} if self.wanted.include_usage else {}
        return self._base("chat.completion.chunk") | {"choices": choices} | usage

    def _base(self, chat: str) -> dict[str, Any]:
        word = "text_completion" if self.wanted.kind == "completion" else chat
        return {"id": self.id, "object": word, "created": self.created, "model": self.wanted.model}

    def _usage(self) -> dict[str, Any]:
        """Return what it all took; a prompt with several choices counts once, as it does at OpenAI."""
        ends = [choice.end for choice in self._choices if choice.end is not None]
        first = ends[:: max(1, len(ends) // self.wanted.prompts)]
        read, said = sum(end.tokens_in for end in first), sum(end.tokens_out for end in ends)
        return {
            "prompt_tokens": read,
            "completion_tokens": said,
            "total_tokens": read + said,
            "prompt_tokens_details": {"cached_tokens": sum(end.tokens_cached for end in first)},
        }


def model_object(model: str, *, created: int, owned_by: str = "rbee") -> dict[str, Any]:
    return {"id": model, "object": "model", "created": created, "owned_by": owned_by}


def model_list(models: Iterable[str], *, created: int, owned_by: str = "rbee") -> dict[str, Any]:
    """Return the answer of GET /v1/models; ``created`` is seconds since the epoch."""
    return {"object": "list", "data": [model_object(each, created=created, owned_by=owned_by) for each in models]}
