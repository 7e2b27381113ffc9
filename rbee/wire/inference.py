"""What a worker is asked for, and what it says of itself."""

from dataclasses import dataclass

from rbee.wire import continuation
from rbee.wire.fields import JOB_ID, number, plain, text
from rbee.wire.jobs import Generation


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRequest(Generation):
    """POST /v1/inference."""

    id: str | None = text(longest=64, pattern=JOB_ID, default=None, doc="absent: made, and told in `started`")
    detach_s: float = number(low=0, high=3600, default=0, unit="s", doc="how long to go on without a reader")
    continue_from: str = text(
        longest=continuation.LONGEST,
        default="",
        doc="tokens already said, base64 of 32-bit numbers; none is told again",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCount:
    """POST /v1/tokens: how long a prompt is for this model, its template included."""

    tokens: int
    context_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadingEvent:
    """GET /v1/loading/progress. ``progress`` is 0..1."""

    state: str = plain(doc="loading, ready or failed")
    progress: float = 0.0
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """GET /v1/ready."""

    ready: bool
    state: str = plain(doc="loading, ready, busy, draining or failed")
    model: str
    worker: str
    slots: int
    slots_busy: int
    progress: float = 0.0
    context_tokens: int = 0
    progress_url: str = "/v1/loading/progress"
