"""``PoolOps`` of another host, by running rbee-hive there: the same operations with the same answers and errors."""

import json
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from rbee.adapters.process import Completed
from rbee.adapters.ssh.remote import Remote, by_hand
from rbee.errors import ChecksumMismatch, InvalidRequest, PoolUnreachable, RbeeError
from rbee.wire import codec
from rbee.wire.catalog import DownloadEvent, DownloadSpec, ImportSpec, ModelEntry, ModelFile, Verification
from rbee.wire.envelope import from_envelope
from rbee.wire.git import GitStatus, GitSubmodule, GitSyncSpec, GitUpdate
from rbee.wire.pools import GpuInventory, PoolSnapshot
from rbee.wire.sync import SyncEvent, SyncSpec
from rbee.wire.workers import LogLine, SpawnEvent, WorkerSpec, WorkerStatus

T = TypeVar("T")
HIVE = "rbee-hive"
STOPPING_S = 180.0
HASHING_S = 3600.0
_SHOWN = 120


class BrokenAnswer(PoolUnreachable):
    """The other side said what is no JSON."""


class SshPool:
    """``PoolOps`` through ``remote``.

    Args:
        way: ``--direct`` or ``--http`` for rbee-hive; empty: as it finds right itself.
        timeout_s: for an answer that takes no work.
    """

    def __init__(self, remote: Remote, *, way: str = "", timeout_s: float = 30.0) -> None:
        self._remote = remote
        self._options = ["--format=json", f"--timeout={timeout_s:g}", *([way] if way else [])]
        self._timeout_s = timeout_s

    async def get_state(self) -> PoolSnapshot:
        return await self._one(PoolSnapshot, "status")

    async def list_gpus(self) -> GpuInventory:
        return await self._one(GpuInventory, "gpu", "status")

    async def list_workers(self) -> tuple[WorkerStatus, ...]:
        return await self._list(WorkerStatus, "worker", "list")

    async def get_worker(self, worker: str) -> WorkerStatus:
        return await self._one(WorkerStatus, "worker", "status", _word(worker))

    async def spawn_worker(self, spec: WorkerSpec) -> AsyncIterator[SpawnEvent]:
        async for event in self._follow(SpawnEvent, "worker", "spawn", spec.backend.value, *_spawn_options(spec)):
            yield event

    async def stop_worker(self, worker: str) -> None:
        await self._ask("worker", "stop", _word(worker), "--yes", timeout_s=STOPPING_S)

    async def drain_worker(self, worker: str) -> None:
        await self._ask("worker", "drain", _word(worker), timeout_s=HASHING_S)

    async def evict_worker(self, worker: str) -> None:
        await self._ask("worker", "evict", _word(worker))

    async def worker_logs(self, worker: str, lines: int = 100) -> tuple[LogLine, ...]:
        return await self._list(LogLine, "worker", "logs", _word(worker), f"--lines={lines}")

    async def list_models(self) -> tuple[ModelFile, ...]:
        return await self._list(ModelFile, "models", "list")

    async def list_catalog(self) -> tuple[ModelEntry, ...]:
        return await self._list(ModelEntry, "models", "catalog")

    async def get_model(self, model: str) -> ModelFile:
        return await self._one(ModelFile, "models", "info", _word(model))

    async def download_model(self, spec: DownloadSpec) -> AsyncIterator[DownloadEvent]:
        async for event in self._follow(DownloadEvent, "models", "download", _word(spec.model)):
            yield event

    async def import_model(self, spec: ImportSpec) -> ModelFile:
        named = [f"--id={spec.id}"] if spec.id else []
        return await self._one(ModelFile, "models", "import", _word(spec.path), *named, timeout_s=HASHING_S)

    async def verify_model(self, model: str) -> Verification:
        """A model found damaged is an answer here, and exit 69 there."""
        done = await self._run("models", "verify", _word(model), timeout_s=HASHING_S)
        if done.returncode != 0 and not (done.stdout and isinstance(self.refusal(done), ChecksumMismatch)):
            raise self.refusal(done)
        return self._decoded(Verification, self._parsed(done.stdout))

    async def delete_model(self, model: str) -> None:
        await self._ask("models", "delete", _word(model), "--yes")

    async def cache_model(self, model: str) -> ModelFile:
        return await self._one(ModelFile, "models", "cache", _word(model), timeout_s=HASHING_S)

    async def uncache_model(self, model: str) -> None:
        await self._ask("models", "uncache", _word(model))

    async def sync(self, spec: SyncSpec) -> AsyncIterator[SyncEvent]:
        """Steps that failed are an answer here, and an exit code there."""
        told = False
        flags = [*(["--dry-run"] * spec.dry_run), *(["--prune"] * spec.prune)]
        try:
            async for event in self._follow(SyncEvent, "sync", *flags):
                told = told or event.outcome is not None
                yield event
        except RbeeError:
            if not told:
                raise

    async def git_status(self) -> GitStatus:
        return await self._one(GitStatus, "git", "status")

    async def git_submodules(self) -> tuple[GitSubmodule, ...]:
        return await self._list(GitSubmodule, "git", "submodules")

    async def git_pull(self) -> GitUpdate:
        return await self._one(GitUpdate, "git", "pull", timeout_s=HASHING_S)

    async def git_sync(self, spec: GitSyncSpec) -> GitUpdate:
        return await self._one(GitUpdate, "git", "sync", *(["--yes"] * spec.discard), timeout_s=HASHING_S)

    async def drain_pool(self, deadline_s: float | None = None) -> None:
        await self._ask("drain", *([] if deadline_s is None else [f"--deadline={deadline_s:g}"]))

    async def undrain_pool(self) -> None:
        await self._ask("undrain")

    # How

    async def _one(self, kind: type[T], *words: str, timeout_s: float | None = None) -> T:
        return self._decoded(kind, await self._ask(*words, timeout_s=timeout_s))

    async def _list(self, kind: type[T], *words: str) -> tuple[T, ...]:
        rows = await self._ask(*words)
        if not isinstance(rows, list):
            raise self._broken("an array was expected", json.dumps(rows))
        return tuple(self._decoded(kind, row) for row in rows)

    async def _ask(self, *words: str, timeout_s: float | None = None) -> Any:
        done = await self._run(*words, timeout_s=timeout_s)
        if done.returncode != 0:
            raise self.refusal(done)
        return self._parsed(done.stdout)

    async def _run(self, *words: str, timeout_s: float | None) -> Completed:
        # A little more than what rbee-hive is told: whoever knows more about what is slow should be heard.
        limit_s = (timeout_s or self._timeout_s) + 15
        return await self._remote.run([HIVE, *words, *self._options], timeout_s=limit_s, check=False)

    async def _follow(self, kind: type[T], *words: str) -> AsyncIterator[T]:
        """Yield the events of an operation that takes its time; its failure is raised as what it is."""
        argv = [HIVE, *words, *self._options, "--events"]
        try:
            async for line in self._remote.lines(argv):
                yield self._decoded(kind, self._parsed(line))
        except RbeeError as error:
            stderr = error.details.get("stderr")
            if not isinstance(stderr, str):
                raise
            raise self.refusal(Completed(tuple(argv), int(error.details["returncode"]), "", stderr)) from None

    def refusal(self, done: Completed) -> RbeeError:
        """Return what rbee-hive raised there: as JSON it says so in one line on standard error."""
        for line in reversed(done.stderr.splitlines()):
            try:
                said = codec.parse_json(line.encode())
            except RbeeError:
                continue
            if isinstance(said, dict) and "error" in said:
                return from_envelope(said, status=done.returncode, source=f"{HIVE} on {self._remote.name}")
        last = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        return BrokenAnswer(
            f"{HIVE} on {self._remote.name} exited {done.returncode} and said: {last[:_SHOWN]}",
            hint=f"{self._by_hand('--version')}, and rbee-keeper --version",
            details={"returncode": done.returncode},
        )

    def _parsed(self, text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            raise self._broken(str(error), text) from None

    def _decoded(self, kind: type[T], value: Any) -> T:
        try:
            return codec.from_dict(kind, value, lenient=True)
        except InvalidRequest as error:
            raise self._broken(error.message, json.dumps(value)) from None

    def _broken(self, problem: str, text: str) -> BrokenAnswer:
        shown = text.strip()[:_SHOWN] or "nothing"
        return BrokenAnswer(
            f"{HIVE} on {self._remote.name} answered what is no answer of ours ({problem}): {shown}",
            hint=f"{self._by_hand('status', '--format', 'json')}; does a shell's start-up file print something?",
        )

    def _by_hand(self, *words: str) -> str:
        return by_hand(self._remote.target, HIVE, *words)


def _word(text: str) -> str:
    """Return an argument that is no option, whatever it is.

    Raises:
        InvalidRequest: it begins like one, which no name, reference or path of ours does.
    """
    if text.startswith("-"):
        raise InvalidRequest(f"{text[:80]!r} begins with a dash, which no name, reference or path here does")
    return text


def _spawn_options(spec: WorkerSpec) -> list[str]:
    given = {
        "model": spec.model,
        "id": spec.id,
        "gpu": spec.gpu,
        "ctx": spec.ctx,
        "slots": spec.slots,
        "kv": spec.kv,
        "gpu-layers": spec.gpu_layers,
        "memory": spec.memory_bytes,
        "cpu": spec.cpu_percent,
        "idle": spec.idle_s,
        "priority": spec.priority,
    }
    flags = {"--lazy": spec.lazy, "--pin": spec.pinned, "--spare": spec.spare}
    flags |= {"--keep": spec.keep is True, "--forget": spec.keep is False}
    options = [f"--{key}={value}" for key, value in given.items() if value is not None]
    return options + [flag for flag, said in flags.items() if said]
