"""One answer as it grows: tokens in, events out. Knows no thread and no llama.cpp."""

from collections.abc import Callable, Sequence

from rbee.llm_worker.desk import Work
from rbee.llm_worker.ports import Sampling
from rbee.llm_worker.shape import CallPiece, Piece
from rbee.llm_worker.text import TextFlow
from rbee.wire.bodies import SEEDS
from rbee.wire.events import Call, End, Likelihood, Metrics, StopReason, Token

METRICS_S = 1.0


class Answer:
    """The answer to ``work``, whose news it writes.

    Args:
        piece: the bytes of a token.
        ends: whether the model ends its answer with a token.
        clock: in seconds; ``asked_s`` of the work is on it.

    ``cached`` is how many tokens of the prompt did not have to be read, ``begun`` whether all of it is read.
    """

    def __init__(
        self,
        work: Work,
        *,
        piece: Callable[[int], bytes],
        ends: Callable[[int], bool],
        clock: Callable[[], float],
    ) -> None:
        prompt = work.prompt
        self.work, self.cached, self.begun = work, 0, False
        self.constraint = prompt.shape.constraint
        self.rivals = prompt.request.logprobs
        self._ear, self._spoken = prompt.shape.ear, prompt.shape.spoken
        self._piece, self._ends, self._clock = piece, ends, clock
        self._flow = TextFlow(prompt.request.stop)
        self._limit, self._said = prompt.max_tokens, len(prompt.said)
        self._tokens_out = 0
        self._untold: list[int] = []
        self._likely: list[Likelihood] = []
        self._first_s = self._begun_s = self._told_s = 0.0

    def begin(self) -> StopReason | None:
        """The prompt is read: hear again what another worker said. Return why it has ended already, if it has.

        What that lets through was told before; what it holds back was not. Everybody else waits meanwhile: 2 µs a token
        with stop strings, 1 with a grammar, so 65 ms once for the longest answer there may be.
        """
        self.begun, self._begun_s = True, self._clock()
        self._told_s = self._begun_s
        for token in self.work.prompt.said:
            self._tokens_out += 1
            if self.constraint is not None:
                self.constraint.take(token)
            text, stopped = self._flow.feed(self._bytes(token))
            if self._ear is not None:
                self._ear.feed(text)
            if stopped:
                return StopReason.STOP
        return StopReason.MAX_TOKENS if self._tokens_out >= self._limit else None

    def hear(self, token: int, likelihood: Likelihood | None = None) -> StopReason | None:
        """Go on by ``token``; return why the answer ends with it, if it does."""
        if self._ends(token):
            self._tell(self._flow.flush(), over=True)
            return self._reason(StopReason.EOS)
        self._tokens_out += 1
        self._untold.append(token)
        if likelihood is not None:
            self._likely.append(likelihood)
        if not self._first_s:
            self._first_s = self._clock()
        text, stopped = self._flow.feed(self._bytes(token))
        if stopped:
            self._tell(text, over=True)
            return self._reason(StopReason.STOP)
        if self._tokens_out >= self._limit:
            self._tell(text + self._flow.flush(), over=True)
            return self._reason(StopReason.MAX_TOKENS)
        if text:
            self._tell(text)
        now_s = self._clock()
        if now_s - self._told_s >= METRICS_S:
            self._told_s = now_s
            self.work.news.append(self._metrics(now_s))
        return None

    def end(self, reason: StopReason) -> None:
        """Tell that it has ended."""
        now_s, prompt = self._clock(), self.work.prompt
        self.work.news.append(
            End(
                tokens_in=len(prompt.tokens),
                tokens_out=self._tokens_out,
                stop_reason=reason,
                decode_ms=_ms(now_s - (self._begun_s or now_s)),
                ttft_ms=_ms((self._first_s or now_s) - self.work.asked_s),
                tokens_cached=min(self.cached, len(prompt.tokens)),
                stop=self._flow.met if reason is StopReason.STOP else "",
            )
        )

    def _bytes(self, token: int) -> bytes:
        return self._spoken.get(token) or self._piece(token)

    def _reason(self, reason: StopReason) -> StopReason:
        called = self._ear is not None and self._ear.called and reason is StopReason.EOS
        return StopReason.TOOL_CALLS if called else reason

    def _tell(self, text: str, *, over: bool = False) -> None:
        """Tell ``text``, or the pieces that the ear makes of it.

        The tokens go with the last: another worker that goes on from them tells no piece again, and one that goes on
        from those before them tells all.
        """
        pieces, i = self._heard(text, over=over), max(self._tokens_out - 1, 0)
        for n, piece in enumerate(pieces, 1):
            ids, likely = tuple(self._untold) if n == len(pieces) else (), tuple(self._likely)
            if isinstance(piece, CallPiece):
                self.work.news.append(
                    Call(i=i, index=piece.index, arguments=piece.arguments, id=piece.id, name=piece.name, ids=ids)
                )
            else:
                self.work.news.append(Token(i=i, t=piece, ids=ids, logprobs=likely))
            self._likely = []
        if pieces:
            self._untold = []

    def _heard(self, text: str, *, over: bool) -> Sequence[Piece]:
        ear = self._ear
        if ear is None:
            return (text,) if text else ()
        pieces = [*(ear.feed(text) if text else ()), *(ear.flush() if over else ())]
        return [piece for piece in pieces if piece]

    def _metrics(self, now_s: float) -> Metrics:
        made = self._tokens_out - self._said
        return Metrics(tokens_out=self._tokens_out, tokens_per_s=round(made / (now_s - self._begun_s), 2))


def sampling_of(work: Work) -> Sampling:
    """Return how its tokens are drawn."""
    request, said = work.prompt.request, len(work.prompt.said)
    return Sampling(
        temperature=request.temperature,
        top_k=request.top_k,
        top_p=request.top_p,
        min_p=request.min_p,
        repeat_penalty=request.repeat_penalty,
        # Where it would have been in its sequence of random numbers nobody can tell; not at the beginning. The number
        # after SEEDS llama.cpp takes for none at all.
        seed=(work.prompt.seed + said) % SEEDS,
        ignore_eos=request.ignore_eos,
        frequency_penalty=request.frequency_penalty,
        presence_penalty=request.presence_penalty,
        logit_bias={int(token): bias for token, bias in request.logit_bias.items()},
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
