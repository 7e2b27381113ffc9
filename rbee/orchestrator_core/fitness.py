"""Whether a model can do at all what a job wants of it, where that is certain from what pools tell of its files."""

from rbee.errors import InvalidRequest
from rbee.orchestrator_core.view import View
from rbee.wire.catalog import ModelKind
from rbee.wire.jobs import JobSpec, Work

_ABLE = {Work.GENERATE: ModelKind.GENERATE, Work.EMBED: ModelKind.EMBED, Work.RERANK: ModelKind.RERANK}
"""A worker does nothing else with a model of that kind."""

_DOES = {
    ModelKind.GENERATE: "only generates text",
    ModelKind.EMBED: "only embeds texts",
    ModelKind.RERANK: "only ranks documents",
}
_NAMED = 5


def unfit(job: JobSpec, view: View) -> InvalidRequest | None:
    """Return why no file that goes by the job's model can do its work; None where one can, or none is known."""
    kinds = {file.kind for _, file in view.fleet.files(view.fleet.names.canonical(job.model))}
    if not kinds or _ABLE[job.work] in kinds:
        return None
    kind = min(kinds)
    details = {"model": job.model, "kind": kind.value, "work": job.work.value}
    if kind is ModelKind.ADAPTER:
        return InvalidRequest(
            f"{job.model} is an adapter, and no model", hint=f"ask for <base>+{job.model}", details=details
        )
    return InvalidRequest(
        f"{job.model} {_DOES[kind]}, and cannot {job.work}", hint=_hint(job.work, view), details=details
    )


def _hint(work: Work, view: View) -> str:
    able = view.fleet.models(_ABLE[work])
    if not able:
        return f"no pool has a model to {work} with; rbee pool models catalog shows what each is for"
    more = f" and {len(able) - _NAMED} more" if len(able) > _NAMED else ""
    return f"to {work} there is {', '.join(able[:_NAMED])}{more}; rbee pool models catalog shows what each is for"
