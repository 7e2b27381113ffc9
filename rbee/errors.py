"""Every failure rbee reports, as one tree.

RbeeError                internal             exit 70  http 500   a bug, or nothing better to say
├── InvalidRequest       invalid_request      exit 64  http 400   the request is malformed
│   ├── ContextTooLong   context_too_long     exit 64  http 400   prompt and answer exceed the model's context
│   ├── DeadlineUnmet    deadline_unmet       exit 64  http 400   it cannot be done by then
│   ├── BackendUnavailable backend_unavailable exit 69 http 400   this host cannot do cuda, rocm, …
│   └── PayloadTooLarge  payload_too_large    exit 64  http 413   the body is larger than the limit
├── Unauthorized         unauthorized         exit 77  http 401   no token, or a wrong one
├── NotPermitted         not_permitted        exit 77  http 403   known, but may not do this
├── NotFound             not_found            exit 66  http 404   no such job, pool or worker
│   └── ModelNotFound    model_not_found      exit 66  http 404   no such model here or anywhere we know
├── Conflict             conflict             exit 73  http 409   its state, or another's claim, forbids this
│   └── VersionMismatch  version_mismatch     exit 78  http 409   two rbees of different versions met
├── QueueFull            queue_full           exit 75  http 429   come back later
├── NoCapacity           no_capacity          exit 75  http 503   nothing is free, or nothing fits
│   └── GpuTooHot        gpu_too_hot          exit 75  http 503   … before a GPU has cooled down
├── ShuttingDown         shutting_down        exit 75  http 503   this daemon or worker is on its way out
│   └── Standby          standby              exit 75  http 503   this queen waits in case another one ends
├── InsufficientVram     insufficient_vram    exit 75  http 507   needed and free bytes are in the details
├── InsufficientMemory   insufficient_memory  exit 75  http 507   likewise
├── InsufficientDisk     insufficient_disk    exit 73  http 507   likewise
├── PoolUnreachable      pool_unreachable     exit 69  http 502   a daemon below did not answer
├── NoManager            no_manager           exit 69  http 503   systemd does not answer on that host
├── WorkerLost           worker_lost          exit 69  http 502   the worker ended while it had work
│   ├── WorkerOom        worker_oom           exit 69  http 502   … because it reached its memory limit
│   └── WorkerHung       worker_hung          exit 69  http 502   … because it made no progress
├── ModelLoadFailed      model_load_failed    exit 69  http 502   llama.cpp would not take the file
├── DownloadFailed       download_failed      exit 69  http 502   the hub or the network gave up
├── ChecksumMismatch     checksum_mismatch    exit 69  http 502   the bytes are not the promised ones
├── Timeout              timeout              exit 75  http 504   it took longer than allowed
├── PolicyFailed         policy_failed        exit 65  http 500   a policy script failed, or wants what cannot be
└── ConfigInvalid        config_invalid       exit 78  http 500   the file or the environment is wrong

Exit codes are those of sysexits(3), which systemd prints by name (``status=78/CONFIG``).
"""

import os
from collections.abc import Mapping
from typing import Any, ClassVar

EX_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class RbeeError(Exception):
    """A failure with a stable code, a sentence, and a hint that can be run.

    Args:
        message: lower case, names the thing, gives the value and what was expected.
        hint: what to do next; where possible a command.
        details: JSON-able facts (bytes needed and free, wrong fields, ports tried).
        source: who speaks: ``queen``, ``pool:blep``, ``worker:worker-cpu-0``; set at the first edge it crosses.
    """

    code: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = os.EX_SOFTWARE
    http_status: ClassVar[int] = 500
    retriable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        details: Mapping[str, Any] | None = None,
        source: str = "",
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, Any] = dict(details or {})
        self.source = source
        self.request_id = request_id


class InvalidRequest(RbeeError):
    code = "invalid_request"
    exit_code = os.EX_USAGE
    http_status = 400


class ContextTooLong(InvalidRequest):
    code = "context_too_long"


class DeadlineUnmet(InvalidRequest):
    code = "deadline_unmet"


class BackendUnavailable(InvalidRequest):
    code = "backend_unavailable"
    exit_code = os.EX_UNAVAILABLE


class PayloadTooLarge(InvalidRequest):
    code = "payload_too_large"
    http_status = 413


class Unauthorized(RbeeError):
    code = "unauthorized"
    exit_code = os.EX_NOPERM
    http_status = 401


class NotPermitted(RbeeError):
    code = "not_permitted"
    exit_code = os.EX_NOPERM
    http_status = 403


class NotFound(RbeeError):
    code = "not_found"
    exit_code = os.EX_NOINPUT
    http_status = 404


class ModelNotFound(NotFound):
    code = "model_not_found"


class Conflict(RbeeError):
    code = "conflict"
    exit_code = os.EX_CANTCREAT
    http_status = 409


class VersionMismatch(Conflict):
    code = "version_mismatch"
    exit_code = os.EX_CONFIG


class QueueFull(RbeeError):
    code = "queue_full"
    exit_code = os.EX_TEMPFAIL
    http_status = 429
    retriable = True


class NoCapacity(RbeeError):
    code = "no_capacity"
    exit_code = os.EX_TEMPFAIL
    http_status = 503
    retriable = True


class GpuTooHot(NoCapacity):
    code = "gpu_too_hot"


class ShuttingDown(RbeeError):
    code = "shutting_down"
    exit_code = os.EX_TEMPFAIL
    http_status = 503
    retriable = True


class Standby(ShuttingDown):
    code = "standby"


class InsufficientVram(RbeeError):
    code = "insufficient_vram"
    exit_code = os.EX_TEMPFAIL
    http_status = 507


class InsufficientMemory(RbeeError):
    code = "insufficient_memory"
    exit_code = os.EX_TEMPFAIL
    http_status = 507


class InsufficientDisk(RbeeError):
    code = "insufficient_disk"
    exit_code = os.EX_CANTCREAT
    http_status = 507


class PoolUnreachable(RbeeError):
    code = "pool_unreachable"
    exit_code = os.EX_UNAVAILABLE
    http_status = 502
    retriable = True


class NoManager(RbeeError):
    code = "no_manager"
    exit_code = os.EX_UNAVAILABLE
    http_status = 503
    retriable = True


class WorkerLost(RbeeError):
    code = "worker_lost"
    exit_code = os.EX_UNAVAILABLE
    http_status = 502
    retriable = True


class WorkerOom(WorkerLost):
    code = "worker_oom"
    retriable = False


class WorkerHung(WorkerLost):
    code = "worker_hung"


class ModelLoadFailed(RbeeError):
    code = "model_load_failed"
    exit_code = os.EX_UNAVAILABLE
    http_status = 502


class DownloadFailed(RbeeError):
    code = "download_failed"
    exit_code = os.EX_UNAVAILABLE
    http_status = 502
    retriable = True


class ChecksumMismatch(RbeeError):
    code = "checksum_mismatch"
    exit_code = os.EX_UNAVAILABLE
    http_status = 502


class Timeout(RbeeError):
    code = "timeout"
    exit_code = os.EX_TEMPFAIL
    http_status = 504
    retriable = True


class PolicyFailed(RbeeError):
    code = "policy_failed"
    exit_code = os.EX_DATAERR


class ConfigInvalid(RbeeError):
    code = "config_invalid"
    exit_code = os.EX_CONFIG
    http_status = 500


def _tree(root: type[RbeeError]) -> dict[str, type[RbeeError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found.update(_tree(child))
    return found


BY_CODE: Mapping[str, type[RbeeError]] = _tree(RbeeError)
