"""rbee-keeper jobs explain and workers explain: why things are as they are, in sentences."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.keeper.reach import ask
from rbee.wire.words import counted
from rbee.wire.workers import WorkerExplanation


def explain_job(args: Args, output: Output) -> None:
    found = ask(args, lambda queen: queen.explain_job(args["<job>"]))
    output.facts(found, {"job": found.id, "state": found.state.value, "reason": found.reason})
    if not output.as_json:
        lines = [line for decision in found.decisions for line in _decision(decision)]
        for at_ms, line in sorted(lines, key=lambda line: line[0]):
            output.text(f"{_clock(at_ms)}  {line}")


def explain_workers(args: Args, output: Output) -> None:
    found = ask(args, lambda queen: queen.explain_workers())
    if output.as_json or not found:
        output.table(found, [], none="no workers")
        return
    for worker in found:
        output.text("".join(_worker(worker)))


def _decision(decision: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """Yield what a job waited for before a decision; then the decision, with who else was considered below it."""
    for waited in decision.get("waited", ()):
        yield waited["at_ms"], f"waited: {waited['reason']}\n"
    lines = [f"{decision.get('sentence') or decision.get('decision', '')}\n"]
    if decision.get("policy"):
        lines.append(f"    {decision['policy']}\n")
    for each in decision.get("considered", ()):
        what = each.get("worker") or each.get("device", "")
        lines.append(f"    {what} of {each['pool']}: {each['found']}\n")
    yield decision.get("at_ms", 0), "".join(lines)


def _worker(worker: WorkerExplanation) -> Iterator[str]:
    jobs = f", {counted(worker.jobs, 'job')}" if worker.jobs else ""
    of_model = f"{worker.model}, " if worker.model else ""
    yield f"{worker.id}  {of_model}{worker.state}{jobs}\n"
    yield f"  {worker.sentence}\n"
    for decision in worker.decisions:
        of_job = f" ({decision.job})" if decision.job else ""
        yield f"  {_clock(decision.at_ms)}  {decision.why}{of_job}\n"


def _clock(at_ms: int) -> str:
    """Return the time of today, the day as well where it was another."""
    then, now = time.localtime(at_ms / 1000), time.localtime()
    today = (then.tm_year, then.tm_yday) == (now.tm_year, now.tm_yday)
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", then)
