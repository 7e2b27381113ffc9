"""What both command lines say of a sync."""

import dataclasses
from collections.abc import AsyncIterator

from rbee.cli.output import Column, Output
from rbee.cli.progress import Bar
from rbee.cli.run import Args
from rbee.errors import RbeeError
from rbee.pool_core.syncing import failures
from rbee.wire.sync import SyncEvent, SyncOutcome, SyncSpec, SyncState, SyncStep
from rbee.wire.words import counted

STEP_COLUMNS = (
    Column("STEP", "action"),
    Column("NAME", "id"),
    Column("STATE", "state"),
    Column("WHY", "why"),
)


def spec_of(args: Args) -> SyncSpec:
    """Return what is asked for; ``--dry-run`` is the pool's own here, which alone knows the steps."""
    return SyncSpec(dry_run=bool(args["--dry-run"]), prune=bool(args["--prune"]))


async def follow_sync(events: AsyncIterator[SyncEvent], bar: Bar) -> SyncOutcome:
    """Show how far a sync is, and return what came of it."""
    outcome: SyncOutcome | None = None
    async for event in events:
        outcome = event.outcome
        failed = event.step is not None and event.step.error is not None
        if outcome is None and not failed:  # those are said at the end, with what to do
            bar(event.message, event.progress, "")
    if outcome is None:
        raise RbeeError("the sync ended without an outcome")
    return outcome


def show_outcome(outcome: SyncOutcome, output: Output) -> None:
    """Show the steps; what there was nothing to do about is talk."""
    if output.as_json:
        output.facts(outcome, {})
        return
    if outcome.steps:
        output.table([_worded(step) for step in outcome.steps], STEP_COLUMNS, none="")
    output.say(sentence(outcome))


def sentence(outcome: SyncOutcome) -> str:
    """Return the outcome in one line."""
    same = f"{counted(len(outcome.unchanged), 'declared worker')} unchanged" if outcome.unchanged else ""
    states = [step.state for step in outcome.steps]
    counts = [f"{states.count(state)} {word}" for state, word in _WORDS.items() if state in states]
    if not counts and not same:
        return "nothing is declared, and nothing is here that was"
    return ", ".join([*counts, *([same] if same else [])]) + (": nothing was done" if outcome.dry_run else "")


def exit_code(outcome: SyncOutcome) -> int:
    """Return 0 when no step failed, else the code of the first that did."""
    return next((error.exit_code for _, error in failures(outcome)), 0)


def told(step: SyncStep, error: RbeeError) -> RbeeError:
    """Return the failure of a step so that it names the step."""
    if step.id not in error.message:
        error.message = f"{step.id}: {error.message}"
    return error


def _worded(step: SyncStep) -> SyncStep:
    why = str(step.error["message"]) if step.error is not None and not step.why else step.why
    return dataclasses.replace(step, why=why)


_WORDS = {
    SyncState.PLANNED: "to do",
    SyncState.DONE: "done",
    SyncState.FAILED: "failed",
    SyncState.WAITS: "for later",
    SyncState.KEPT: "left alone",
}
