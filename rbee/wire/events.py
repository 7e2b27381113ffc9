"""What happens to a job, as the events of its stream.

``queued`` → ``started`` → ``token``… with ``metrics`` between → exactly one of ``end`` and ``error``. Where the model
calls a tool there are ``call``s among the tokens; what was asked for vectors or scores has those in place of tokens.
A worker's own stream is the same without ``queued``.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from rbee.errors import InvalidRequest, RbeeError
from rbee.wire import codec
from rbee.wire.envelope import error_for
from rbee.wire.fields import said, sparse
from rbee.wire.sse import Frame


class StopReason(StrEnum):
    EOS = "eos"
    MAX_TOKENS = "max_tokens"
    STOP = "stop"
    TOOL_CALLS = "tool_calls"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    position: int
    predicted_start_ms: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """``id`` is the worker's name for the generation, wanted where the request named none."""

    worker: str
    model: str
    seed: int
    pool: str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A token that might have been said, and how likely the model thought it: the natural logarithm."""

    token: str = said()
    logprob: float
    bytes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Likelihood(Rival):
    """The token that was said, and its likeliest rivals, best first; they are before anything was sampled."""

    top: tuple[Rival, ...] = sparse(())


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """``t`` is text and never splits a character; ``i`` counts the model's tokens from 0 and may jump.

    ``ids`` is between worker and queen only: the model's tokens since the event before, so that another worker can go
    on from exactly there. Where a token makes several events its number is in the last: they are told all or none.
    """

    i: int
    t: str = said()
    ids: tuple[int, ...] = sparse(())
    logprobs: tuple[Likelihood, ...] = sparse((), doc="of each token since the event before; where they were wanted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A piece of the model's call number ``index`` of a tool; ``id`` and ``name`` are in the first piece of each.

    ``arguments`` are the characters of JSON that were added. ``i`` and ``ids`` as those of a token.
    """

    i: int
    index: int
    arguments: str = said("")
    id: str | None = sparse(None)
    name: str | None = sparse(None)
    ids: tuple[int, ...] = sparse(())


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """Input number ``index`` as numbers: base64 of little-endian 32-bit floats, of length 1."""

    index: int
    data: str
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How well document number ``index`` answers the query; the higher the better."""

    index: int
    score: float
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    tokens_out: int
    tokens_per_s: float
    resumed_on: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """``tokens_cached``: how many of ``tokens_in`` the worker knew already and did not read again.

    ``stop``: which of the strings that end an answer came, where that is known.
    """

    tokens_in: int
    tokens_out: int
    stop_reason: StopReason
    decode_ms: float
    ttft_ms: float
    tokens_cached: int = sparse(0)
    stop: str = sparse("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The event ``error``."""

    code: str
    message: str
    retriable: bool = False
    hint: str = ""
    details: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, error: RbeeError) -> "Failure":
        return cls(
            code=error.code,
            message=error.message,
            retriable=error.retriable,
            hint=error.hint,
            details=error.details or None,
        )

    @property
    def quotes(self) -> bool:
        """Whether it may repeat what the caller sent: then no log has it, and it goes when that goes."""
        return _quotes(self.code)

    def to_error(self, source: str = "") -> RbeeError:
        return error_for(self.code, self.message, hint=self.hint, details=self.details, source=source)


JobEvent: TypeAlias = Queued | Started | Token | Call | Vector | Score | Metrics | End | Failure

KINDS: Mapping[str, type[JobEvent]] = {
    "queued": Queued,
    "started": Started,
    "token": Token,
    "call": Call,
    "vector": Vector,
    "score": Score,
    "metrics": Metrics,
    "end": End,
    "error": Failure,
}
ERASED = "what was wrong was erased with the text of the job"
PARTS = ("token", "call", "vector", "score")
"""Events that hold what was asked for; the others only tell how it goes."""
LAST = ("end", "error")
NAMES: Mapping[type[JobEvent], str] = {kind: word for word, kind in KINDS.items()}


def dump(event: JobEvent) -> str:
    """Return the JSON of ``event``; that of a token for readers is written out, since it is made thousands of times."""
    if type(event) is Token and not event.ids and not event.logprobs:
        return f'{{"i":{event.i},"t":{codec.dump_text(event.t)}}}'
    return codec.dump_json(event)


def last(event: JobEvent) -> bool:
    """Say whether nothing follows ``event``."""
    return isinstance(event, End | Failure)


def _quotes(code: object) -> bool:
    return code == InvalidRequest.code


def without_text(word: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what is left of the event of that name when the text of its job is erased."""
    if word == "end":
        return {key: value for key, value in data.items() if key != "stop"}
    if word == "error" and _quotes(data.get("code")):
        return codec.plain(Failure(code=InvalidRequest.code, message=ERASED))  # type: ignore[no-any-return]
    return data


def name_of(event: JobEvent) -> str:
    return NAMES[type(event)]


def read(word: str, data: Any) -> JobEvent | None:
    """Return the event of that name; None for a name this version does not know."""
    kind = KINDS.get(word)
    return None if kind is None else codec.from_dict(kind, data, lenient=True)


async def follow(frames: AsyncIterator[Frame]) -> AsyncIterator[tuple[int, JobEvent]]:
    """Yield ``(id, event)`` of each frame that is an event this version knows.

    Raises:
        InvalidRequest: an event without a number, or with data of the wrong shape.
    """
    async for frame in frames:
        found = numbered(frame)
        if found is not None:
            yield found


def numbered(frame: Frame) -> tuple[int, JobEvent] | None:
    """Return the id and the event that ``frame`` is; None where this version does not know it. Raises as ``follow``."""
    event = read(frame.event, codec.parse_text(frame.data))
    if event is None:
        return None
    if frame.id is None or not frame.id.isdigit():
        raise InvalidRequest(f"event {frame.event} has id {frame.id!r}, expected a number")
    return int(frame.id), event
