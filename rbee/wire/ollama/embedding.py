"""/api/embed, and /api/embeddings, which is its older form for one text."""

import base64
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rbee.errors import WorkerLost
from rbee.wire.bodies import Faults, Neutral, opened, shown, whole
from rbee.wire.events import End, JobEvent, Vector
from rbee.wire.fields import MEBIBYTE, text
from rbee.wire.jobs import JobSpec, Work
from rbee.wire.ollama.models import name_of
from rbee.wire.ollama.options import options_of

_NEUTRAL: Neutral = {"dimensions": (None, 0)}
_NAMES: Mapping[str, str] = {"inputs": "input"}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    called: str
    spec: JobSpec
    num_ctx: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Body:
    model: str = text(longest=300, shortest=1)
    input: Any = None
    options: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _OlderBody:
    model: str = text(longest=300, shortest=1)
    prompt: str = text(longest=MEBIBYTE, shortest=1)
    options: Any = None


def parse_embed(body: Any) -> EmbedRequest:
    """Return what a body of POST /api/embed asks for.

    Raises:
        InvalidRequest: ``details["fields"]`` names every wrong or unsupported field.
    """
    faults = Faults()
    faults.refuse_unless_neutral(opened(body), _NEUTRAL)
    read = whole(_Body, body, faults)
    given = [read.input] if isinstance(read.input, str) else read.input
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given) or not 1 <= len(given) <= 2048:
        faults.add("input", f"is {shown(read.input)}, expected a text, or a list of 1..2048 texts")
        given = []
    return _request(read.model, tuple(given), read.options, faults)


def parse_embedding(body: Any) -> EmbedRequest:
    """Return what a body of POST /api/embeddings asks for; raises as ``parse_embed``."""
    faults = Faults()
    read = whole(_OlderBody, opened(body), faults)
    return _request(read.model, (read.prompt,), read.options, faults)


def vectors(events: Iterable[JobEvent]) -> tuple[list[list[float]], End]:
    """Return the vectors in ``events``, in the order of the texts, and how it ended.

    Raises:
        WorkerLost: it never ended.
    """
    found: dict[int, list[float]] = {}
    for event in events:
        if isinstance(event, Vector):
            data = base64.b64decode(event.data)
            found[event.index] = list(struct.unpack(f"<{len(data) // 4}f", data))
        if isinstance(event, End):
            return [found[index] for index in sorted(found)], event
    raise WorkerLost(f"the answer broke off after {len(found)} vectors", hint="send it again")


def _request(model: str, given: tuple[str, ...], options: Any, faults: Faults) -> EmbedRequest:
    read = options_of(options, faults)
    spec = JobSpec(model=name_of(model), work=Work.EMBED, inputs=given)
    if not faults.found:
        faults.of_generation(spec, _NAMES)
    faults.done()
    return EmbedRequest(called=model, spec=spec, num_ctx=read.num_ctx)
