"""Our events as Anthropic's answers: a message, the events of its stream, errors, the list of models."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rbee.errors import RbeeError
from rbee.wire import codec
from rbee.wire.events import Call, End, JobEvent, Started, StopReason, Token
from rbee.wire.functions import arguments_of
from rbee.wire.sse import Frame

Json = dict[str, Any]

_STOPS: Mapping[StopReason, str] = {
    StopReason.EOS: "end_turn",
    StopReason.STOP: "stop_sequence",
    StopReason.MAX_TOKENS: "max_tokens",
    StopReason.TOOL_CALLS: "tool_use",
}
_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


@dataclass(slots=True, kw_only=True)
class Answer:
    """A message as it comes to be; what each event adds to it is told as frames of a stream.

    Args:
        id: shown to the caller, and the name of the job.
    """

    id: str
    model: str
    _begun: bool = field(default=False, init=False)
    _blocks: list[Json] = field(default_factory=list, init=False)
    _pieces: list[str] = field(default_factory=list, init=False)
    _open: bool = field(default=False, init=False)
    _call: int = field(default=-1, init=False)
    _end: End | None = field(default=None, init=False)

    def frames(self, event: JobEvent) -> list[Frame]:
        """Return what a stream says on ``event``; nothing where Messages has no word for it."""
        match event:
            case Started() if not self._begun:
                self._begun = True
                return [_frame("message_start", message=self.body()), _frame("ping")]
            case Token():
                return [*self._speak(), self._adds({"type": "text_delta", "text": event.t})] if event.t else []
            case Call():
                begun = self._calls(event)
                added = {"type": "input_json_delta", "partial_json": event.arguments}
                return [*begun, self._adds(added)] if event.arguments else begun
            case End():
                self._end = event
                closed = self._close()
                said = {"stop_reason": _STOPS.get(event.stop_reason), "stop_sequence": event.stop or None}
                return [*closed, _frame("message_delta", delta=said, usage=_usage(event)), _frame("message_stop")]
            case _:
                return []

    def read(self, events: Iterable[JobEvent]) -> Json:
        """Return the message that ``events`` are."""
        for event in events:
            self.frames(event)
        return self.body()

    def failed(self, error: RbeeError) -> Frame:
        """Return the last frame of a stream in which something went wrong."""
        return Frame(event="error", data=codec.dump_json(error_body(error)))

    def body(self) -> Json:
        """Return the message as far as it is there."""
        end = self._end
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": list(self._blocks),
            "stop_reason": _STOPS.get(end.stop_reason) if end else None,
            "stop_sequence": (end.stop or None) if end else None,
            "usage": _usage(end) if end else _NOTHING_YET,
        }

    def _speak(self) -> list[Frame]:
        if self._open and self._blocks[-1]["type"] == "text":
            return []
        return self._begin({"type": "text", "text": ""})

    def _calls(self, event: Call) -> list[Frame]:
        if event.index <= self._call:
            return []
        self._call = event.index
        return self._begin({"type": "tool_use", "id": event.id or "", "name": event.name or "", "input": {}})

    def _begin(self, block: Json) -> list[Frame]:
        closed = self._close()
        self._blocks.append(block)
        self._open = True
        return [*closed, _frame("content_block_start", index=self._index, content_block=dict(block))]

    def _adds(self, delta: Json) -> Frame:
        self._pieces.append(delta.get("text") or delta.get("partial_json") or "")
        return _frame("content_block_delta", index=self._index, delta=delta)

    def _close(self) -> list[Frame]:
        """End the block that is begun."""
        if not self._open:
            return []
        said, self._open = "".join(self._pieces), False
        self._pieces.clear()
        block = self._blocks[-1]
        if block["type"] == "text":
            block["text"] = said
        else:
            block["input"] = arguments_of(said)
        return [_frame("content_block_stop", index=self._index)]

    @property
    def _index(self) -> int:
        return len(self._blocks) - 1


def error_body(error: RbeeError, request_id: str = "") -> Json:
    """Return ``error`` in Anthropic's shape."""
    kind = _TYPES.get(error.http_status, "api_error" if error.http_status >= 500 else "invalid_request_error")
    inner = {"type": kind, "message": error.message, **_thread_refused(error)}
    return {"type": "error", "error": inner, "request_id": request_id or None}


def _thread_refused(error: RbeeError) -> Json:
    """Return what tells the official client to send the whole conversation; its tool runner then does."""
    fields = error.details.get("fields")
    named = [each.get("field") for each in fields if isinstance(each, Mapping)] if isinstance(fields, list) else []
    if "thread" not in named:
        return {}
    return {"details": {**error.details, "error_code": "thread_unsupported_request", "unsupported": []}}


def model_object(model: str, *, created: int) -> Json:
    at = datetime.fromtimestamp(created, UTC).isoformat()
    return {"id": model, "type": "model", "display_name": model, "created_at": at, "lifecycle": "active"}


def model_list(models: Iterable[str], *, created: int) -> Json:
    """Return the answer of GET /v1/models; ``created`` is seconds since the epoch."""
    data = [model_object(each, created=created) for each in models]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return {"data": data, "has_more": False, **ends}


_NOTHING_YET: Json = {
    "input_tokens": 0,
    "output_tokens": 0,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
}
"""What a message that begins says: how long its prompt was is known at its end."""


def _usage(end: End) -> Json:
    """Return what was read and said; ``input_tokens`` are without those that were known already."""
    return {
        "input_tokens": end.tokens_in - end.tokens_cached,
        "output_tokens": end.tokens_out,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": end.tokens_cached,
    }


def _frame(word: str, **facts: Any) -> Frame:
    return Frame(event=word, data=codec.dump_json({"type": word, **facts}))
