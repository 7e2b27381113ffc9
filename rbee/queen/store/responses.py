"""Answers that can be gone on from: the jobs they are, and what they repeat of their requests."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rbee.queen.store import events
from rbee.queen.store.events import Entry
from rbee.queen.store.jobs import Stored, find, readable_spec
from rbee.queen.store.models import Job, Response
from rbee.wire import codec
from rbee.wire.jobs import JobSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """``spec``: what the job was asked, the conversation before it included."""

    stored: Stored
    spec: JobSpec
    asked: Mapping[str, Any]


def keep(job: str, asked: Mapping[str, Any]) -> None:
    """Let ``job`` be gone on from, as long as its text is kept; one whose text is gone already cannot be."""
    row = Job.get_or_none(Job.id == job, Job.erased_ms.is_null())
    if row is not None:
        facts = {"asked": codec.dump_json(asked)}
        Response.insert(job=row.seq, **facts).on_conflict(conflict_target=[Response.job], update=facts).execute()


def kept(job: str) -> Kept | None:
    """Return the answer ``job``; None where there is none, or its text was erased, or cannot be read."""
    row = Job.get_or_none(Job.id == job, Job.erased_ms.is_null())
    stored, answer = (None, None) if row is None else (find(job), Response.get_or_none(Response.job == row.seq))
    if row is None or stored is None or answer is None:
        return None
    spec = readable_spec(row)
    return None if spec is None else Kept(stored=stored, spec=spec, asked=json.loads(answer.asked))


def told(job: str) -> tuple[Kept, Sequence[Entry]] | None:
    """Return the answer ``job`` and what happened to it; None as ``kept``.

    Nobody is given half of what is being erased: that takes everything at once, so what is still there after its events
    were read was there while they were.
    """
    found = find(job)
    if found is None:
        return None
    entries: list[Entry] = []
    while page := events.page(found.seq, entries[-1].id if entries else 0):
        entries += page
    answer = kept(job)
    return None if answer is None else (answer, entries)
