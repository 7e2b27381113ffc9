"""What happens to a job, for those who tell it in another dialect: an answer, and one that calls tools."""

from typing import Any

from rbee.wire.events import Call, End, JobEvent, Metrics, Queued, Started, StopReason, Token

STARTED = Started(worker="worker-cpu-0", model="tiny", seed=7)


def ended(reason: StopReason = StopReason.EOS, **extra: Any) -> End:
    return End(tokens_in=5, tokens_out=2, stop_reason=reason, decode_ms=2.0, ttft_ms=1.0, tokens_cached=3, **extra)


STORY: list[JobEvent] = [
    Queued(position=0), STARTED, Token(i=0, t="Hel"), Metrics(tokens_out=1, tokens_per_s=9.0), Token(i=1, t="lo"),
    ended(),
]  # fmt: skip
CALLED: list[JobEvent] = [
    STARTED,
    Token(i=0, t="Well. "),
    Call(i=1, index=0, id="call-1", name="weather"),
    Call(i=2, index=0, arguments='{"a":'),
    Call(i=3, index=0, arguments="1}"),
    Call(i=4, index=1, id="call-2", name="weather", arguments="{}"),
    ended(StopReason.TOOL_CALLS),
]
