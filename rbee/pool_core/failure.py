"""How a worker's end is told: systemd's word and the memory counters, as the error a caller gets. Pure."""

from rbee.errors import ModelLoadFailed, RbeeError, Timeout, WorkerHung, WorkerLost, WorkerOom
from rbee.wire.workers import WorkerExit


def start_failure(worker: str, model: str, ended: WorkerExit) -> RbeeError:
    """Return why ``worker`` did not get ready.

    A worker that runs out of memory, hangs or is too slow is told as such; one that gave up by itself could not load
    its model; one that somebody killed is lost.
    """
    details = details_of(worker, ended)
    logs = f"rbee-hive worker logs {worker}, or journalctl WORKER={worker}"
    if ended.oom:
        return oom(worker, ended)
    match ended.result:
        case "watchdog":
            return WorkerHung(f"{worker} made no progress while loading {model}", hint=logs, details=details)
        case "timeout":
            return Timeout(
                f"{worker} did not load {model} in time",
                hint="raise [worker] load_timeout_s, or take a smaller model",
                details=details,
            )
        case "exit-code" | "protocol":
            said = f": {_last_words(ended)}" if _last_words(ended) else f" ({ended.code or ended.result})"
            return ModelLoadFailed(f"{worker} could not load {model}{said}", hint=logs, details=details)
        case "start-limit-hit":
            return WorkerLost(f"{worker} failed too often", hint=f"rbee-hive worker stop {worker}", details=details)
    return WorkerLost(
        f"{worker} ended while starting: {ended.result} {ended.code}".rstrip(), hint=logs, details=details
    )


def oom(worker: str, ended: WorkerExit) -> WorkerOom:
    """Return the error for a worker that reached its memory limit."""
    return WorkerOom(
        f"{worker} ran out of memory: its limit is {ended.memory_limit_bytes} bytes,"
        f" it had used {ended.memory_peak_bytes}",
        hint="spawn it with a larger --memory, or less --ctx or --slots",
        details=details_of(worker, ended),
    )


def details_of(worker: str, ended: WorkerExit) -> dict[str, object]:
    """Return the facts for an error's details."""
    facts = {
        "worker": worker,
        "result": ended.result,
        "code": ended.code,
        "limit_bytes": ended.memory_limit_bytes,
        "peak_bytes": ended.memory_peak_bytes,
        "log": list(ended.log),
    }
    return {key: value for key, value in facts.items() if value not in (None, "", [])}


def _last_words(ended: WorkerExit) -> str:
    """Return the last line the worker itself wrote; systemd's and the post-mortem's are about it, not from it."""
    theirs = [line for line in ended.log if not _is_about(line)]
    return theirs[-1] if theirs else ""


def _is_about(line: str) -> bool:
    return line.startswith(("worker.ended ", "rbee-", "Starting ", "Started ", "Stopped ", "Failed to start "))
