"""rbee-keeper jobs explain and workers explain: why things are as they are, in sentences."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.keeper.reach import ask
from rbee.wire.workers import WorkerExplanation


def explain_job(args: Args, output: Output) -> None:
    found = ask(args, lambda queen: queen.explain_job(args["<job>"]))
    output.facts(found, {"job": found.id, "state": found.state.value, "reason": found.reason})
    if not output.as_json:
        for decision in found.decisions:
            output.text("".join(_decision(decision)))


def explain_workers(args: Args, output: Output) -> None:
    found = ask(args, lambda queen: queen.explain_workers())
    if output.as_json or not found:
        output.table(found, [], none="no workers")
        return
    for worker in found:
        output.text("".join(_worker(worker)))


def _decision(decision: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of one decision, what it waited for before it and who else was considered below it."""
    for waited in decision.get("waited", ()):
        yield f"{_clock(waited['at_ms'])}  waited: {waited['reason']}\n"
    yield f"{_clock(decision.get('at_ms', 0))}  {decision.get('sentence') or decision.get('decision', '')}\n"
    if decision.get("policy"):
        yield f"            {decision['policy']}\n"
    for each in decision.get("considered", ()):
        what = each.get("worker") or each.get("device", "")
        yield f"            {what} of {each['pool']}: {each['found']}\n"


def _worker(worker: WorkerExplanation) -> Iterator[str]:
    jobs = f", {worker.jobs} of our jobs" if worker.jobs else ""
    yield f"{worker.id}  {worker.model}, {worker.state}{jobs}\n"
    yield f"  {worker.sentence}\n"
    for decision in worker.decisions:
        of_job = f" ({decision.job})" if decision.job else ""
        yield f"  {_clock(decision.at_ms)}  {decision.why}{of_job}\n"


def _clock(at_ms: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at_ms / 1000))
