"""One generation in one slot, from prompt to ``end``, as a plain generator: the thread around it is elsewhere."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field

from rbee.llm_worker.engine import Prompt
from rbee.llm_worker.ports import PREFILL_TOKENS, Decoder, Interrupted, LoadedModel, Sampling
from rbee.llm_worker.text import TextFlow
from rbee.wire.events import End, JobEvent, Metrics, StopReason, Token

METRICS_S = 1.0


@dataclass(slots=True, kw_only=True)
class Generation:
    """A run of ``prompt`` in ``slot``.

    Args:
        asked_s: when it was submitted, on ``clock``; ``ttft_ms`` counts from there, waiting included.
        cancelled: asked between two tokens and between two steps of the prompt.
        alive: called after each step; the watchdog counts on it.
    """

    prompt: Prompt
    slot: Decoder
    model: LoadedModel
    clock: Callable[[], float]
    asked_s: float
    cancelled: Callable[[], bool]
    alive: Callable[[], None]
    _tokens_out: int = field(default=0, init=False)
    _untold: list[int] = field(default_factory=list, init=False)
    _first_s: float | None = field(default=None, init=False)
    _decoding_s: float = field(default=0.0, init=False)

    def events(self) -> Iterator[JobEvent]:
        """Yield what follows ``started``; the last is ``end``."""
        try:
            self._read_prompt()
            reason = yield from self._answer()
        except Interrupted:
            reason = StopReason.CANCELLED
        finally:
            self.slot.end()
        yield self._end(reason)

    def _read_prompt(self) -> None:
        request, tokens = self.prompt.request, [*self.prompt.tokens, *self.prompt.said]
        self.slot.begin(
            Sampling(
                temperature=request.temperature,
                top_k=request.top_k,
                top_p=request.top_p,
                min_p=request.min_p,
                repeat_penalty=request.repeat_penalty,
                # Where it would have been in its sequence of random numbers nobody can tell; not at the beginning.
                seed=(self.prompt.seed + len(self.prompt.said)) % (1 << 32),
                ignore_eos=request.ignore_eos,
            )
        )
        for start in range(0, len(tokens), PREFILL_TOKENS):
            self._check()
            self.slot.read(tokens[start : start + PREFILL_TOKENS])
            self.alive()
        self.slot.remember(tokens)

    def _answer(self) -> Generator[JobEvent, None, StopReason]:
        """Yield tokens, and ``metrics`` about once a second; return why it ended."""
        flow = TextFlow(self.prompt.request.stop)
        self._tokens_out = len(self.prompt.said)
        for token in self.prompt.said:  # what it lets through was told before; what it holds back was not
            if flow.feed(self.model.piece(token))[1]:
                return StopReason.STOP
        self._decoding_s = told_s = self.clock()
        while self._tokens_out < self.prompt.max_tokens:
            self._check()
            token = self.slot.draw()
            if self.model.ends(token):
                yield from self._text(flow.flush())
                return StopReason.EOS
            self._count(token)
            text, stopped = flow.feed(self.model.piece(token))
            yield from self._text(text)
            if stopped:
                return StopReason.STOP
            if self.clock() - told_s >= METRICS_S:
                told_s = self.clock()
                yield self._metrics(told_s)
            if self._tokens_out < self.prompt.max_tokens:
                self.slot.read([token])
                self.alive()
        yield from self._text(flow.flush())
        return StopReason.MAX_TOKENS

    def _check(self) -> None:
        if self.cancelled():
            raise Interrupted

    def _count(self, token: int) -> None:
        self._tokens_out += 1
        self._untold.append(token)
        if self._first_s is None:
            self._first_s = self.clock()

    def _text(self, text: str) -> Iterator[Token]:
        if text:
            ids, self._untold = tuple(self._untold), []
            yield Token(i=max(self._tokens_out - 1, 0), t=text, ids=ids)

    def _metrics(self, now_s: float) -> Metrics:
        made = self._tokens_out - len(self.prompt.said)
        return Metrics(tokens_out=self._tokens_out, tokens_per_s=round(made / (now_s - self._decoding_s), 2))

    def _end(self, reason: StopReason) -> End:
        now_s = self.clock()
        first_s = now_s if self._first_s is None else self._first_s
        return End(
            tokens_in=len(self.prompt.tokens),
            tokens_out=self._tokens_out,
            stop_reason=reason,
            decode_ms=_ms(now_s - (self._decoding_s or now_s)),
            ttft_ms=_ms(first_s - self.asked_s),
        )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
