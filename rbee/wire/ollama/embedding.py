"""/api/embed, and /api/embeddings, which is its older form for one text."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rbee.errors import WorkerLost
from rbee.wire.bodies import Faults, opened, shown, whole
from rbee.wire.events import End, JobEvent, Vector
from rbee.wire.fields import MEBIBYTE, number, text
from rbee.wire.jobs import JobSpec, Work
from rbee.wire.ollama.models import name_of
from rbee.wire.ollama.options import leaves, options_of
from rbee.wire.vectors import shortened, unpacked

_NAMES: Mapping[str, str] = {"inputs": "input"}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """What was asked for.

    Attributes:
        leave: the model is to leave its memory after the answer.
    """

    called: str
    spec: JobSpec
    num_ctx: int | None = None
    dimensions: int | None = None
    leave: bool = False

    def vectors(self, events: Iterable[JobEvent]) -> tuple[list[list[float]], End]:
        """Return the vectors in ``events``, in the order of the texts, and how it ended.

        Raises:
            WorkerLost: it never ended.
            InvalidRequest: they are shorter than ``dimensions``.
        """
        found: dict[int, list[float]] = {}
        for event in events:
            if isinstance(event, Vector):
                found[event.index] = shortened(unpacked(event.data), self.dimensions).tolist()
            if isinstance(event, End):
                return [found[index] for index in sorted(found)], event
        raise WorkerLost(f"the answer broke off after {len(found)} vectors", hint="send it again")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Body:
    model: str = text(longest=300, shortest=1)
    input: Any = None
    dimensions: int | None = number(low=0, high=65_536, default=None)
    options: Any = None
    keep_alive: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _OlderBody:
    model: str = text(longest=300, shortest=1)
    prompt: str = text(longest=MEBIBYTE, shortest=1)
    options: Any = None
    keep_alive: Any = None


def parse_embed(body: Any) -> EmbedRequest:
    """Return what a body of POST /api/embed asks for.

    Raises:
        InvalidRequest: ``details["fields"]`` names every wrong or unsupported field.
    """
    faults = Faults()
    read = whole(_Body, opened(body), faults)
    given = [read.input] if isinstance(read.input, str) else read.input
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given) or not 1 <= len(given) <= 2048:
        faults.add("input", f"is {shown(read.input)}, expected a text, or a list of 1..2048 texts")
        given = []
    return _request(read, tuple(given), faults, dimensions=read.dimensions or None)


def parse_embedding(body: Any) -> EmbedRequest:
    """Return what a body of POST /api/embeddings asks for; raises as ``parse_embed``."""
    faults = Faults()
    read = whole(_OlderBody, opened(body), faults)
    return _request(read, (read.prompt,), faults)


def _request(
    read: _Body | _OlderBody, given: tuple[str, ...], faults: Faults, *, dimensions: int | None = None
) -> EmbedRequest:
    options, leave = options_of(read.options, faults), leaves(read.keep_alive, faults)
    spec = JobSpec(model=name_of(read.model), work=Work.EMBED, inputs=given)
    if not faults.found:
        faults.of_generation(spec, _NAMES)
    faults.done()
    return EmbedRequest(called=read.model, spec=spec, num_ctx=options.num_ctx, dimensions=dimensions, leave=leave)
