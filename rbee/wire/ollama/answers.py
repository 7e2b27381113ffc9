"""Our events as Ollama's answers: lines of JSON, or one object."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rbee.errors import RbeeError
from rbee.wire.events import Call, End, JobEvent, Likelihood, StopReason, Token
from rbee.wire.functions import arguments_of

Json = dict[str, Any]

_MS = 1_000_000
_REASONS: Mapping[StopReason, str] = {StopReason.MAX_TOKENS: "length"}


@dataclass(slots=True, kw_only=True)
class Answer:
    """An answer as it comes to be; what each event adds to it is told as objects of a stream.

    Args:
        chat: as /api/chat says it, not as /api/generate.
        now: the time, as RFC 3339 has it.
        took_ns: since the request came.
    """

    model: str
    chat: bool
    now: Callable[[], str]
    took_ns: Callable[[], int]
    _call: Call | None = field(default=None, init=False)
    _arguments: list[str] = field(default_factory=list, init=False)

    def told(self, event: JobEvent) -> list[Json]:
        """Return what a stream says on ``event``. A call is told once it is whole."""
        match event:
            case Token():
                if not event.t and not event.logprobs:
                    return []
                return [*self._called(), self._line(event.t) | _likelihoods(event.logprobs)]
            case Call():
                begun = self._called() if self._call is not None and event.index > self._call.index else []
                self._call = self._call or event
                self._arguments.append(event.arguments)
                return begun
            case End():
                return [*self._called(), self._ended(event)]
            case _:
                return []

    def joined(self, lines: Sequence[Json]) -> Json:
        """Return the lines of a whole answer as one object."""
        whole = dict(lines[-1])
        logprobs = [each for line in lines for each in line.get("logprobs", ())]
        said = "".join(_said(line) for line in lines)
        if self.chat:
            calls = [call for line in lines for call in line["message"].get("tool_calls", ())]
            whole["message"] = {"role": "assistant", "content": said} | ({"tool_calls": calls} if calls else {})
        else:
            whole["response"] = said
        return whole | ({"logprobs": logprobs} if logprobs else {})

    def done(self, reason: str) -> Json:
        """Return an answer in which nothing is said."""
        return self._line("") | {"done": True, "done_reason": reason}

    def _called(self) -> list[Json]:
        """Return the call that is whole by now."""
        call, said = self._call, "".join(self._arguments)
        if call is None:
            return []
        self._call = None
        self._arguments.clear()
        function = {"index": call.index, "name": call.name or "", "arguments": arguments_of(said)}
        line = self._line("")
        line["message"]["tool_calls"] = [{"id": call.id or "", "function": function}]
        return [line]

    def _line(self, said: str) -> Json:
        content: Json = {"message": {"role": "assistant", "content": said}} if self.chat else {"response": said}
        return {"model": self.model, "created_at": self.now(), **content, "done": False}

    def _ended(self, end: End) -> Json:
        took = self.took_ns()
        reading, saying = int(end.ttft_ms * _MS), int(end.decode_ms * _MS)
        return self._line("") | {
            "done": True,
            "done_reason": _REASONS.get(end.stop_reason, "stop"),
            "total_duration": took,
            "load_duration": max(0, took - reading - saying),
            "prompt_eval_count": end.tokens_in,
            "prompt_eval_duration": reading,
            "eval_count": end.tokens_out,
            "eval_duration": saying,
        }


def error_body(error: RbeeError) -> Json:
    """Return ``error`` as Ollama has it: a sentence."""
    return {"error": error.message}


def _said(line: Json) -> str:
    return str(line["message"]["content"] if "message" in line else line["response"])


def _likelihoods(logprobs: Iterable[Likelihood]) -> Json:
    told = [
        {
            "token": each.token,
            "logprob": each.logprob,
            "bytes": list(each.bytes),
            "top_logprobs": [
                {"token": rival.token, "logprob": rival.logprob, "bytes": list(rival.bytes)} for rival in each.top
            ],
        }
        for each in logprobs
    ]
    return {"logprobs": told} if told else {}
