"""POST /v1/embeddings: texts to vectors."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rbee.errors import WorkerLost
from rbee.wire import vectors
from rbee.wire.bodies import Faults, Problem, opened, session, whole
from rbee.wire.events import Failure, JobEvent, Vector
from rbee.wire.fields import items, number, plain, text
from rbee.wire.jobs import Generation, Work
from rbee.wire.openai.requests import texts_of

MOST_INPUTS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRequest:
    """``generation`` holds arguments of ``wire.jobs.Generation`` and is checked."""

    model: str
    generation: Mapping[str, Any]
    dimensions: int | None = None
    packed: bool = False
    session: str | None = None

    def answer(self, events: Iterable[JobEvent]) -> dict[str, Any]:
        """Return the answer.

        Raises:
            RbeeError: the failure among ``events``; WorkerLost where a vector is missing; InvalidRequest when the
                model's vectors are shorter than ``dimensions``.
        """
        found: dict[int, Vector] = {}
        for event in events:
            if isinstance(event, Failure):
                raise event.to_error()
            if isinstance(event, Vector):
                found[event.index] = event
        wanted = len(self.generation["inputs"])
        if len(found) != wanted:
            raise WorkerLost(f"{len(found)} of {wanted} texts were embedded", hint="send it again")
        read = sum(vector.tokens for vector in found.values())
        data = [
            {"object": "embedding", "index": index, "embedding": self._shown(found[index].data)}
            for index in sorted(found)
        ]
        usage = {"prompt_tokens": read, "total_tokens": read}
        return {"object": "list", "data": data, "model": self.model, "usage": usage}

    def _shown(self, packed: str) -> str | list[float]:
        if self.packed and self.dimensions is None:
            return packed
        numbers = vectors.shortened(vectors.unpacked(packed), self.dimensions)
        return vectors.packed(numbers) if self.packed else numbers.tolist()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Body:
    model: str = text(longest=300, shortest=1)
    input: tuple[str, ...] = items(longest=MOST_INPUTS, shortest=1)
    dimensions: int | None = number(low=1, high=65_536, default=None)
    encoding_format: str | None = plain(None)
    user: str | None = text(longest=1000, default=None)

    def problems(self) -> Iterator[Problem]:
        if self.encoding_format not in (None, "float", "base64"):
            yield "encoding_format", f"is {self.encoding_format[:40]!r}, expected float or base64"
        for field, problem in Generation(work=Work.EMBED, inputs=self.input).problems():
            yield "input" if field == "inputs" else field, problem


def parse_embeddings(body: Any) -> EmbeddingRequest:
    """Return what a body of POST /v1/embeddings asks for.

    Raises:
        InvalidRequest: ``details["fields"]`` names every wrong field.
    """
    given, faults = opened(body), Faults()
    said = {"input": texts_of(given["input"], "input", faults)} if "input" in given else {}
    asked = whole(_Body, {**given, **said}, faults)
    faults.done()
    return EmbeddingRequest(
        model=asked.model,
        generation={"work": Work.EMBED, "inputs": asked.input},
        dimensions=asked.dimensions,
        packed=asked.encoding_format == "base64",
        session=session(asked.user),
    )
