"""One choice of an answer, as it grows: what of it was said, and what is to say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rbee.wire.events import Call, End, Likelihood, StopReason, Token
from rbee.wire.openai import likelihoods
from rbee.wire.openai.requests import Kind

_FINISH: Mapping[StopReason, str] = {
    StopReason.EOS: "stop",
    StopReason.STOP: "stop",
    StopReason.MAX_TOKENS: "length",
    StopReason.TOOL_CALLS: "tool_calls",
}


@dataclass(slots=True, kw_only=True)
class Choice:
    """Choice number ``index``. What is told of it is given out by pieces, or kept for ``whole``."""

    kind: Kind
    index: int
    echo: str = ""
    begun: bool = False
    end: End | None = None
    _offset: int = 0
    _texts: list[str] = field(default_factory=list)
    _likely: list[Likelihood] = field(default_factory=list)
    _calls: list[dict[str, Any]] = field(default_factory=list)
    _arguments: list[list[str]] = field(default_factory=list)

    def opening(self) -> list[dict[str, Any]]:
        """Return what comes before the first piece: who speaks, or what is echoed."""
        if self.begun:
            return []
        self.begun = True
        if self.kind == "chat":
            return [self._open({"delta": {"role": "assistant", "content": ""}})]
        self._offset = len(self.echo)
        return [self._open({"text": self.echo})] if self.echo else []

    def said(self, token: Token) -> dict[str, Any]:
        piece = {"text": token.t} if self.kind == "completion" else {"delta": {"content": token.t}}
        return self._open(piece) | {"logprobs": self._likelihoods(token)}

    def called(self, call: Call) -> dict[str, Any]:
        piece: dict[str, Any] = {"index": call.index, "function": {"arguments": call.arguments}}
        if call.id is not None:
            function = {"name": call.name, "arguments": call.arguments}
            piece = {"index": call.index, "id": call.id, "type": "function", "function": function}
        return self._open({"delta": {"tool_calls": [piece]}})

    def closing(self, end: End) -> dict[str, Any]:
        self.end = end
        piece: dict[str, Any] = {"text": ""} if self.kind == "completion" else {"delta": {}}
        return self._open(piece) | {"finish_reason": _FINISH[end.stop_reason]}

    def keep(self, event: Token | Call | End) -> None:
        match event:
            case Token():
                self._texts.append(event.t)
                self._likely += event.logprobs
            case Call():
                self._keep_call(event)
            case End():
                self.end = event

    def whole(self, *, likely: bool) -> dict[str, Any]:
        """Return all of it.

        Args:
            likely: the likelihoods were asked for.
        """
        text, logprobs = self.echo + "".join(self._texts), None
        if likely and self.kind == "chat":
            logprobs = likelihoods.of_chat(self._likely)
        elif likely:
            logprobs = likelihoods.of_completion(self._likely, len(self.echo))
        finish = None if self.end is None else _FINISH[self.end.stop_reason]
        content: dict[str, Any] = {"text": text} if self.kind == "completion" else {"message": self._message(text)}
        return {"index": self.index, **content, "logprobs": logprobs, "finish_reason": finish}

    def _message(self, text: str) -> dict[str, Any]:
        calls = [
            {**call, "function": {**call["function"], "arguments": "".join(arguments)}}
            for call, arguments in zip(self._calls, self._arguments, strict=True)
        ]
        called = {"tool_calls": calls} if calls else {}
        content = None if calls and not text.strip() else text
        return {"role": "assistant", "content": content, "refusal": None, **called}

    def _keep_call(self, call: Call) -> None:
        if call.id is not None:
            self._calls.append({"id": call.id, "type": "function", "function": {"name": call.name}})
            self._arguments.append([])
        self._arguments[call.index].append(call.arguments)

    def _likelihoods(self, token: Token) -> dict[str, Any] | None:
        offset, self._offset = self._offset, self._offset + len(token.t)
        if not token.logprobs:
            return None
        if self.kind == "chat":
            return likelihoods.of_chat(token.logprobs)
        return likelihoods.of_completion(token.logprobs, offset)

    def _open(self, piece: dict[str, Any]) -> dict[str, Any]:
        return {"index": self.index, **piece, "logprobs": None, "finish_reason": None}
