"""Every operation once: its name, its route, its types and its command.

Handlers, client methods and commands are written by hand and carry the operation's name; a parity test
compares them, the usage texts and docs/api.md with these tables.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rbee.wire import catalog, events, git, inference, jobs, pools, sync, workers


class Answer(StrEnum):
    ONE = "one"
    LIST = "list"
    EMPTY = "empty"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class Operation:
    """One row. ``path`` has Sanic's placeholders; ``words`` is empty for what only daemons say to each other."""

    name: str
    method: str
    path: str
    request: type[Any] | None
    answer: type[Any] | None
    form: Answer
    words: tuple[str, ...]
    status: int = 200


ONE, LIST, EMPTY, STREAM = Answer

QUEEN = (
    Operation("submit_job", "POST", "/v2/tasks", jobs.JobSpec, jobs.JobStatus, ONE, ("jobs", "submit"), 202),
    Operation("list_jobs", "GET", "/v2/tasks", jobs.JobQuery, jobs.JobStatus, LIST, ("jobs", "list")),
    Operation("get_job", "GET", "/v2/tasks/<job>", None, jobs.JobStatus, ONE, ("jobs", "status")),
    Operation("job_events", "GET", "/v2/tasks/<job>/events", None, events.Token, STREAM, ("jobs", "events")),
    Operation("cancel_job", "DELETE", "/v2/tasks/<job>", None, None, EMPTY, ("jobs", "cancel"), 204),
    Operation("explain_job", "GET", "/v2/tasks/<job>/explain", None, jobs.Explanation, ONE, ("jobs", "explain")),
    Operation("list_pools", "GET", "/v2/pools", None, pools.PoolStatus, LIST, ("pool", "list")),
    Operation("get_pool", "GET", "/v2/pools/<pool>", None, pools.PoolStatus, ONE, ("pool", "status")),
    Operation("register_pool", "POST", "/v2/pools/<pool>/register", pools.PoolRegistration, pools.PoolStatus, ONE,
              ("pool", "register")),
    Operation("heartbeat", "POST", "/v2/pools/<pool>/heartbeat", pools.PoolSnapshot, None, EMPTY, (), 204),
    Operation("drain_pool", "POST", "/v2/pools/<pool>/drain", pools.DrainSpec, None, EMPTY, ("pool", "drain"), 204),
    Operation("undrain_pool", "POST", "/v2/pools/<pool>/undrain", None, None, EMPTY, ("pool", "undrain"), 204),
    Operation("remove_pool", "DELETE", "/v2/pools/<pool>", None, None, EMPTY, ("pool", "remove"), 204),
    Operation("list_workers", "GET", "/v2/workers", None, workers.WorkerStatus, LIST, ("pool", "worker", "list")),
    Operation("spawn_worker", "POST", "/v2/workers", workers.WorkerSpec, workers.SpawnEvent, STREAM,
              ("pool", "worker", "spawn")),
    Operation("stop_worker", "DELETE", "/v2/workers/<worker>", None, None, EMPTY, ("pool", "worker", "stop"), 204),
    Operation("explain_workers", "GET", "/v2/workers/explain", None, workers.WorkerExplanation, LIST,
              ("workers", "explain")),
    Operation("list_models", "GET", "/v2/models", None, catalog.ModelEntry, LIST, ("pool", "models", "catalog")),
    Operation("version", "GET", "/v2/meta/version", None, pools.Version, ONE, ()),
    Operation("capabilities", "GET", "/v2/meta/capabilities", None, pools.Capabilities, ONE, ()),
)  # fmt: skip

POOL = (
    Operation("get_state", "GET", "/v2/state", None, pools.PoolSnapshot, ONE, ("status",)),
    Operation("list_gpus", "GET", "/v2/gpus", None, pools.GpuInventory, ONE, ("gpu", "status")),
    Operation("list_workers", "GET", "/v2/workers", None, workers.WorkerStatus, LIST, ("worker", "list")),
    Operation("get_worker", "GET", "/v2/workers/<worker>", None, workers.WorkerStatus, ONE, ("worker", "status")),
    Operation("spawn_worker", "POST", "/v2/workers", workers.WorkerSpec, workers.SpawnEvent, STREAM,
              ("worker", "spawn")),
    Operation("stop_worker", "DELETE", "/v2/workers/<worker>", None, None, EMPTY, ("worker", "stop"), 204),
    Operation("drain_worker", "POST", "/v2/workers/<worker>/drain", None, None, EMPTY, ("worker", "drain"), 204),
    Operation("evict_worker", "POST", "/v2/workers/<worker>/evict", None, None, EMPTY, ("worker", "evict"), 204),
    Operation("worker_logs", "GET", "/v2/workers/<worker>/logs", None, workers.LogLine, LIST, ("worker", "logs")),
    Operation("list_models", "GET", "/v2/models", None, catalog.ModelFile, LIST, ("models", "list")),
    Operation("list_catalog", "GET", "/v2/catalog", None, catalog.ModelEntry, LIST, ("models", "catalog")),
    Operation("get_model", "GET", "/v2/models/<model>", None, catalog.ModelFile, ONE, ("models", "info")),
    Operation("download_model", "POST", "/v2/models", catalog.DownloadSpec, catalog.DownloadEvent, STREAM,
              ("models", "download")),
    Operation("import_model", "POST", "/v2/models/import", catalog.ImportSpec, catalog.ModelFile, ONE,
              ("models", "import"), 201),
    Operation("verify_model", "POST", "/v2/models/<model>/verify", None, catalog.Verification, ONE,
              ("models", "verify")),
    Operation("delete_model", "DELETE", "/v2/models/<model>", None, None, EMPTY, ("models", "delete"), 204),
    Operation("cache_model", "POST", "/v2/models/<model>/cache", None, catalog.ModelFile, ONE, ("models", "cache")),
    Operation("uncache_model", "DELETE", "/v2/models/<model>/cache", None, None, EMPTY, ("models", "uncache"), 204),
    Operation("sync", "POST", "/v2/sync", sync.SyncSpec, sync.SyncEvent, STREAM, ("sync",)),
    Operation("git_status", "GET", "/v2/git/status", None, git.GitStatus, ONE, ("git", "status")),
    Operation("git_submodules", "GET", "/v2/git/submodules", None, git.GitSubmodule, LIST, ("git", "submodules")),
    Operation("git_pull", "POST", "/v2/git/pull", None, git.GitUpdate, ONE, ("git", "pull")),
    Operation("git_sync", "POST", "/v2/git/sync", git.GitSyncSpec, git.GitUpdate, ONE, ("git", "sync")),
    Operation("drain_pool", "POST", "/v2/drain", pools.DrainSpec, None, EMPTY, ("drain",), 204),
    Operation("undrain_pool", "POST", "/v2/undrain", None, None, EMPTY, ("undrain",), 204),
)  # fmt: skip

WORKER = (
    Operation("infer", "POST", "/v1/inference", inference.InferenceRequest, events.Token, STREAM, ()),
    Operation("attach", "GET", "/v1/inference/<job>/events", None, events.Token, STREAM, ()),
    Operation("cancel", "DELETE", "/v1/inference/<job>", None, None, EMPTY, (), 204),
    Operation("count_tokens", "POST", "/v1/tokens", inference.InferenceRequest, inference.TokenCount, ONE, ()),
    Operation("readiness", "GET", "/v1/ready", None, inference.Readiness, ONE, ()),
    Operation("loading", "GET", "/v1/loading/progress", None, inference.LoadingEvent, STREAM, ()),
    Operation("drain", "POST", "/v1/drain", None, None, EMPTY, (), 204),
    Operation("sleep", "POST", "/v1/sleep", None, None, EMPTY, (), 204),
)
