"""Our events as an answer of Responses, and as the events of its stream."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rbee.errors import InvalidRequest, QueueFull, RbeeError
from rbee.wire import codec
from rbee.wire.events import Call, End, JobEvent, Likelihood, Started, StopReason, Token
from rbee.wire.sse import Frame

Json = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Answer:
    """An answer as it comes to be; what each event adds to it is told as frames of a stream.

    Args:
        id: shown to the caller, and the name of the job.
        created: seconds since the epoch.
        echo: what is repeated of the request.
        store: whether it can be gone on from.
    """

    id: str
    created: int
    echo: Mapping[str, Any]
    store: bool
    status: str = field(default="in_progress", init=False)
    output: list[Json] = field(default_factory=list, init=False)
    _usage: Json | None = field(default=None, init=False)
    _error: Json | None = field(default=None, init=False)
    _incomplete: Json | None = field(default=None, init=False)
    _texts: list[str] = field(default_factory=list, init=False)
    _logprobs: list[Json] = field(default_factory=list, init=False)
    _call: int = field(default=-1, init=False)
    _told: int = field(default=0, init=False)

    def frames(self, event: JobEvent) -> list[Frame]:
        """Return what a stream says on ``event``; nothing where Responses has no word for it."""
        match event:
            case Started() if not self._told:
                return [self._whole("response.created"), self._whole("response.in_progress")]
            case Token():
                return [*self._speak(), self._delta(event)] if event.t or event.logprobs else []
            case Call():
                return [*self._calls(event), *self._argues(event)]
            case End():
                cancelled = event.stop_reason is StopReason.CANCELLED
                close = "incomplete" if cancelled or event.stop_reason is StopReason.MAX_TOKENS else "completed"
                silent = [] if self.output or cancelled else self._speak()
                return [*silent, *self._close(close), self._ends(event)]
            case _:
                return []

    def failed(self, error: RbeeError) -> Frame:
        """Return the last frame of a stream in which something went wrong."""
        if not self._told:
            return self._frame("error", code=error.code, message=error.message, param=None)
        self.fail(error)
        return self._whole("response.failed")

    def fail(self, error: RbeeError) -> None:
        code = "invalid_prompt" if isinstance(error, InvalidRequest) else "server_error"
        if isinstance(error, QueueFull):
            code = "rate_limit_exceeded"
        self.status, self._error = "failed", {"code": code, "message": error.message}
        self._break()

    def read(self, events: Iterable[JobEvent]) -> Json:
        """Return the answer that ``events`` are."""
        for event in events:
            self.frames(event)
        return self.body()

    def body(self) -> Json:
        """Return the answer as far as it is there."""
        return {
            "id": self.id,
            "object": "response",
            "created_at": float(self.created),
            "status": self.status,
            "background": False,
            "error": self._error,
            "incomplete_details": self._incomplete,
            "output": [self._so_far(item) for item in self.output],
            "reasoning": {"effort": None, "summary": None},
            "service_tier": "default",
            "store": self.store,
            "truncation": "disabled",
            "usage": self._usage,
            **self.echo,
        }

    def _so_far(self, item: Json) -> Json:
        """Return ``item`` with what was said of it; one that is begun has its text only when it ends."""
        begun = item["type"] == "message" and item["status"] == "in_progress"
        return {**item, "content": [_part("".join(self._texts), list(self._logprobs))]} if begun else dict(item)

    def _speak(self) -> list[Frame]:
        """Begin a message, unless one is begun."""
        if self.output and self.output[-1]["status"] == "in_progress" and self.output[-1]["type"] == "message":
            return []
        closed = self._close()
        item = {"id": self._name("msg"), "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        self.output.append(item)
        self._texts.clear()
        self._logprobs.clear()
        return [
            *closed,
            self._frame("response.output_item.added", output_index=self._index, item=dict(item)),
            self._frame("response.content_part.added", **self._place, part=_part("", [])),
        ]

    def _delta(self, event: Token) -> Frame:
        told = [_likely(each) for each in event.logprobs]
        self._texts.append(event.t)
        self._logprobs += told
        return self._frame("response.output_text.delta", **self._place, delta=event.t, logprobs=told)

    def _calls(self, event: Call) -> list[Frame]:
        """Begin a call, unless it is one of those begun."""
        if event.index <= self._call:
            return []
        closed, self._call = self._close(), event.index
        item = {
            "id": self._name("fc"), "type": "function_call", "status": "in_progress", "call_id": event.id or "",
            "name": event.name or "", "arguments": "",
        }  # fmt: skip
        self.output.append(item)
        return [*closed, self._frame("response.output_item.added", output_index=self._index, item=dict(item))]

    def _argues(self, event: Call) -> list[Frame]:
        if not event.arguments:
            return []
        item = self.output[-1]
        item["arguments"] += event.arguments
        word = "response.function_call_arguments.delta"
        return [self._frame(word, item_id=item["id"], output_index=self._index, delta=event.arguments)]

    def _close(self, status: str = "completed") -> list[Frame]:
        """End the item that is begun."""
        if not self.output or self.output[-1]["status"] != "in_progress":
            return []
        item = self.output[-1]
        item["status"] = status
        said = self._closed_text(item) if item["type"] == "message" else self._closed_call(item)
        return [*said, self._frame("response.output_item.done", output_index=self._index, item=dict(item))]

    def _closed_text(self, item: Json) -> list[Frame]:
        text, logprobs = "".join(self._texts), list(self._logprobs)
        item["content"] = [_part(text, logprobs)]
        return [
            self._frame("response.output_text.done", **self._place, text=text, logprobs=logprobs),
            self._frame("response.content_part.done", **self._place, part=item["content"][0]),
        ]

    def _closed_call(self, item: Json) -> list[Frame]:
        word, place = "response.function_call_arguments.done", {"item_id": item["id"], "output_index": self._index}
        return [self._frame(word, **place, name=item["name"], arguments=item["arguments"])]

    def _break(self) -> None:
        """Leave what is begun as far as it came."""
        told, self._told = self._told, 0
        self._close("incomplete")
        self._told = told

    def _ends(self, end: End) -> Frame:
        self._usage = {
            "input_tokens": end.tokens_in,
            "input_tokens_details": {"cached_tokens": end.tokens_cached, "cache_write_tokens": 0},
            "output_tokens": end.tokens_out,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": end.tokens_in + end.tokens_out,
        }
        if end.stop_reason is StopReason.MAX_TOKENS:
            self.status, self._incomplete = "incomplete", {"reason": "max_output_tokens"}
            return self._whole("response.incomplete")
        self.status = "completed" if end.stop_reason is not StopReason.CANCELLED else "cancelled"
        return self._whole("response.completed")

    @property
    def _index(self) -> int:
        return len(self.output) - 1

    @property
    def _place(self) -> Json:
        return {"item_id": self.output[-1]["id"], "output_index": self._index, "content_index": 0}

    def _name(self, kind: str) -> str:
        """Return the id of the next item, the same whenever this answer is read again."""
        return f"{kind}_{self.id.rpartition('_')[2]}{len(self.output)}"

    def _whole(self, word: str) -> Frame:
        return self._frame(word, response=self.body())

    def _frame(self, word: str, **facts: Any) -> Frame:
        number = self._told
        self._told += 1
        return Frame(event=word, data=codec.dump_json({"type": word, "sequence_number": number, **facts}))


def deleted(response: str) -> Json:
    return {"id": response, "object": "response", "deleted": True}


def _part(text: str, logprobs: list[Json]) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def _likely(token: Likelihood) -> Json:
    top = [{"token": each.token, "logprob": each.logprob, "bytes": list(each.bytes)} for each in token.top]
    return {"token": token.token, "logprob": token.logprob, "bytes": list(token.bytes), "top_logprobs": top}
