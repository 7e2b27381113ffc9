"""Whether a model can do at all what a job wants of it, where that is certain from what pools tell of its files."""

from rbee.errors import InvalidRequest
from rbee.orchestrator_core.view import View
from rbee.wire.catalog import ModelKind
from rbee.wire.jobs import JobSpec, Work

_ABLE = {
    Work.GENERATE: frozenset({ModelKind.GENERATE}),
    Work.EMBED: frozenset({ModelKind.GENERATE, ModelKind.EMBED}),
    Work.RERANK: frozenset({ModelKind.RERANK}),
}
_DOES = {
    ModelKind.GENERATE: "generates text and ranks nothing",
    ModelKind.EMBED: "only embeds texts",
    ModelKind.RERANK: "only ranks documents",
}
_WANTED = {Work.GENERATE: "generate", Work.EMBED: "embed", Work.RERANK: "rerank"}


def unfit(job: JobSpec, view: View) -> InvalidRequest | None:
    """Return why no file that goes by the job's model can do its work; None where one can, or none is known."""
    kinds = {file.kind for _, file in view.fleet.files(view.fleet.names.canonical(job.model))}
    if not kinds or kinds & _ABLE[job.work]:
        return None
    kind = min(kinds)
    details = {"model": job.model, "kind": kind.value, "work": job.work.value}
    if kind is ModelKind.ADAPTER:
        return InvalidRequest(
            f"{job.model} is an adapter, and no model", hint=f"ask for <base>+{job.model}", details=details
        )
    return InvalidRequest(
        f"{job.model} {_DOES[kind]}, and cannot {_WANTED[job.work]}",
        hint="rbee pool models catalog shows what each model is for",
        details=details,
    )
