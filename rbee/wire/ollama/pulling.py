"""/api/pull: how a download goes, in Ollama's words."""

from dataclasses import dataclass
from typing import Any

from rbee.wire.bodies import Faults, Neutral, opened, whole
from rbee.wire.catalog import DownloadEvent
from rbee.wire.ollama.models import name_of
from rbee.wire.ollama.requests import parse_name

_NEUTRAL: Neutral = {"insecure": (None, False)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    model: str
    stream: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Body:
    stream: bool | None = None


def parse_pull(body: Any) -> PullRequest:
    """Return what a body of POST /api/pull asks for.

    Raises:
        InvalidRequest: ``details["fields"]`` names every wrong or unsupported field.
    """
    faults = Faults()
    faults.refuse_unless_neutral(opened(body), _NEUTRAL)
    read = whole(_Body, body, faults)
    faults.done()
    return PullRequest(model=name_of(parse_name(body)), stream=read.stream is not False)


def pulled(event: DownloadEvent, model: str) -> dict[str, Any]:
    """Return a line of the stream."""
    if event.model is not None:
        return {"status": "success"}
    if event.bytes_total is None:
        return {"status": f"{event.state} {model}"}
    return {
        "status": f"{event.state} {model}",
        "digest": model,
        "total": event.bytes_total,
        "completed": event.bytes_done,
    }
