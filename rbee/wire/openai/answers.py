"""Our events as OpenAI's answers: chunks, whole objects, errors, the list of models."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rbee.errors import Conflict, RbeeError, WorkerLost
from rbee.wire import codec
from rbee.wire.events import End, Failure, JobEvent, Started, StopReason, Token
from rbee.wire.openai.requests import Kind
from rbee.wire.sse import Frame

DONE = Frame(event="", data="[DONE]")

_OPEN: dict[str, Any] = {"logprobs": None, "finish_reason": None}

_NUL = codec.dump_json("\0")

_FINISH: Mapping[StopReason, str] = {
    StopReason.EOS: "stop",
    StopReason.STOP: "stop",
    StopReason.MAX_TOKENS: "length",
}
_ERROR_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}


@dataclass(slots=True, kw_only=True)
class Renderer:
    """Turns the events of one job into one answer.

    Args:
        id: shown to the caller; a job's id, so that ``journalctl JOB=…`` finds it.
        created: seconds since the epoch.
        include_usage: a stream ends with a chunk that holds the token counts.
    """

    kind: Kind
    id: str
    model: str
    created: int
    include_usage: bool = False
    _begun: bool = field(default=False, init=False)
    _around: tuple[str, str] | None = field(default=None, init=False)

    def frames(self, event: JobEvent) -> list[Frame]:
        """Return what a stream says on ``event``; after ``end`` comes ``[DONE]``, after an error nothing."""
        if isinstance(event, Token) and (self._begun or self.kind == "completion"):
            return [Frame(event="", data=self._said(event.t))]
        cancelled = self._cancelled(event)
        if cancelled is not None:
            return [_error_frame(cancelled)]
        if isinstance(event, Failure):
            return [_error_frame(event.to_error())]
        said = [Frame(event="", data=codec.dump_json(chunk)) for chunk in self.chunks(event)]
        return [*said, DONE] if isinstance(event, End) else said

    def chunks(self, event: JobEvent) -> list[dict[str, Any]]:
        """Return the chunk objects for ``event``; none for what OpenAI has no word for."""
        match event:
            case Started():
                return self._opening()
            case Token():
                return [*self._opening(), self._chunk(event.t)]
            case End():
                return [*self._opening(), self._chunk("", _finish(event)), *self._closing(event)]
            case _:
                return []

    def whole(self, events: Iterable[JobEvent]) -> dict[str, Any]:
        """Return the answer to a request that does not stream.

        Raises:
            RbeeError: the failure among ``events``; Conflict when it was cancelled; WorkerLost when it never ended.
        """
        texts: list[str] = []
        for event in events:
            cancelled = self._cancelled(event)
            if cancelled is not None:
                raise cancelled
            match event:
                case Token():
                    texts.append(event.t)
                case Failure():
                    raise event.to_error()
                case End():
                    return self._answer("".join(texts), event)
        raise WorkerLost(f"the answer to {self.id} broke off after {len(texts)} tokens", hint="send it again")

    def _cancelled(self, event: JobEvent) -> RbeeError | None:
        """OpenAI has no finish reason for a cancelled answer; calling it complete would be a lie."""
        if isinstance(event, End) and event.stop_reason is StopReason.CANCELLED:
            return Conflict(f"{self.id} was cancelled before its answer was complete")
        return None

    def _opening(self) -> list[dict[str, Any]]:
        if self._begun or self.kind == "completion":
            return []
        self._begun = True
        return [self._frame_of({"index": 0, "delta": {"role": "assistant", "content": ""}} | _OPEN)]

    def _chunk(self, text: str, finish: str | None = None) -> dict[str, Any]:
        if self.kind == "completion":
            choice: dict[str, Any] = {"index": 0, "text": text}
        else:
            choice = {"index": 0, "delta": {} if finish else {"content": text}}
        return self._frame_of(choice | _OPEN | {"finish_reason": finish})

    def _said(self, text: str) -> str:
        """Return the JSON of a chunk that says ``text``; all but that is the same in each, and written once."""
        if self._around is None:
            before, _, after = codec.dump_json(self._chunk("\0")).partition(_NUL)
            self._around = before, after
        before, after = self._around
        return f"{before}{codec.dump_json(text)}{after}"

    def _frame_of(self, *choices: dict[str, Any]) -> dict[str, Any]:
        usage = {"usage": None} if self.include_usage else {}
        return self._base("chat.completion.chunk") | {"choices": list(choices)} | usage

    def _closing(self, end: End) -> list[dict[str, Any]]:
        return [self._frame_of() | {"usage": _usage(end)}] if self.include_usage else []

    def _answer(self, text: str, end: End) -> dict[str, Any]:
        if self.kind == "completion":
            content: dict[str, Any] = {"text": text}
        else:
            content = {"message": {"role": "assistant", "content": text, "refusal": None}}
        choice = {"index": 0, **content, "logprobs": None, "finish_reason": _finish(end)}
        return self._base("chat.completion") | {"choices": [choice], "usage": _usage(end)}

    def _base(self, chat: str) -> dict[str, Any]:
        word = "text_completion" if self.kind == "completion" else chat
        return {"id": self.id, "object": word, "created": self.created, "model": self.model}


def error_body(error: RbeeError) -> dict[str, Any]:
    """Return ``error`` in OpenAI's shape; ``param`` is the first wrong field."""
    fields = error.details.get("fields")
    first = fields[0] if isinstance(fields, list | tuple) and fields else {}
    param = first.get("field") if isinstance(first, Mapping) else None
    return {
        "error": {
            "message": error.message,
            "type": _ERROR_TYPES.get(error.http_status, _type(error.http_status)),
            "param": param or None,
            "code": error.code,
        }
    }


def model_object(model: str, *, created: int, owned_by: str = "rbee") -> dict[str, Any]:
    return {"id": model, "object": "model", "created": created, "owned_by": owned_by}


def model_list(models: Iterable[str], *, created: int, owned_by: str = "rbee") -> dict[str, Any]:
    """Return the answer of GET /v1/models; ``created`` is seconds since the epoch."""
    return {"object": "list", "data": [model_object(each, created=created, owned_by=owned_by) for each in models]}


def _error_frame(error: RbeeError) -> Frame:
    return Frame(event="", data=codec.dump_json(error_body(error)))


def _type(status: int) -> str:
    return "invalid_request_error" if 400 <= status < 500 else "server_error"


def _finish(end: End) -> str:
    return _FINISH[end.stop_reason]


def _usage(end: End) -> dict[str, int]:
    return {
        "prompt_tokens": end.tokens_in,
        "completion_tokens": end.tokens_out,
        "total_tokens": end.tokens_in + end.tokens_out,
    }
