"""POST /v1/rerank, which OpenAI has not, but Jina, Cohere and llama-server: documents by how well they answer."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rbee.errors import WorkerLost
from rbee.wire.bodies import Faults, Neutral, Problem, opened, session, whole
from rbee.wire.events import Failure, JobEvent, Score
from rbee.wire.fields import MEBIBYTE, items, number, text
from rbee.wire.jobs import Generation, Work
from rbee.wire.openai.embeddings import MOST_INPUTS

_NEUTRAL: Neutral = {"rank_fields": (None, [], ["text"]), "max_chunks_per_doc": (None,)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankRequest:
    """``generation`` holds arguments of ``wire.jobs.Generation`` and is checked."""

    model: str
    generation: Mapping[str, Any]
    top_n: int | None = None
    with_documents: bool = False
    session: str | None = None

    def answer(self, events: Iterable[JobEvent], *, id: str) -> dict[str, Any]:  # noqa: A002  (as the answer has it)
        """Return the answer, best document first.

        Raises:
            RbeeError: the failure among ``events``; WorkerLost where a score is missing.
        """
        found: dict[int, Score] = {}
        for event in events:
            if isinstance(event, Failure):
                raise event.to_error()
            if isinstance(event, Score):
                found[event.index] = event
        documents = self.generation["inputs"]
        if len(found) != len(documents):
            raise WorkerLost(f"{len(found)} of {len(documents)} documents were judged", hint="send it again")
        best = sorted(found.values(), key=lambda score: (-score.score, score.index))
        results = [self._result(score, documents[score.index]) for score in best[: self.top_n]]
        read = sum(score.tokens for score in found.values())
        usage = {"prompt_tokens": read, "total_tokens": read}
        return {"id": id, "object": "list", "model": self.model, "results": results, "usage": usage}

    def _result(self, score: Score, document: str) -> dict[str, Any]:
        shown = {"document": {"text": document}} if self.with_documents else {}
        return {"index": score.index, "relevance_score": score.score, **shown}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Body:
    model: str = text(longest=300, shortest=1)
    query: str = text(longest=MEBIBYTE, shortest=1)
    documents: tuple[str, ...] = items(longest=MOST_INPUTS, shortest=1)
    top_n: int | None = number(low=1, high=2**31, default=None)
    return_documents: bool | None = None
    user: str | None = text(longest=1000, default=None)

    def problems(self) -> Iterator[Problem]:
        for field, problem in Generation(work=Work.RERANK, inputs=self.documents, query=self.query).problems():
            yield "documents" if field == "inputs" else field, problem


def parse_rerank(body: Any) -> RerankRequest:
    """Return what a body of POST /v1/rerank asks for.

    Raises:
        InvalidRequest: ``details["fields"]`` names every wrong field.
    """
    given, faults = opened(body), Faults()
    faults.refuse_unless_neutral(given, _NEUTRAL)
    documents = given.get("documents")
    said = {"documents": [_text_of(each) for each in documents]} if isinstance(documents, list) else {}
    asked = whole(_Body, {**given, **said}, faults)
    faults.done()
    return RerankRequest(
        model=asked.model,
        generation={"work": Work.RERANK, "inputs": asked.documents, "query": asked.query},
        top_n=asked.top_n,
        with_documents=bool(asked.return_documents),
        session=session(asked.user),
    )


def _text_of(document: Any) -> Any:
    """A document is a text, or an object that has one."""
    return document["text"] if isinstance(document, Mapping) and "text" in document else document
