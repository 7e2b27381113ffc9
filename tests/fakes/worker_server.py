"""A FAKE worker and a FAKE pool, on real loopback sockets. No model: the text is ``w0 w1 w2 …``.

For what real workers do on request only: to die, to pause, to refuse, to forget.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from prometheus_client import CollectorRegistry
from sanic import Request
from sanic.response import HTTPResponse

from rbee.daemon import sse
from rbee.daemon.access import Access
from rbee.daemon.app import App, body, create_app, empty, reply
from rbee.errors import Conflict, NotFound, RbeeError
from rbee.wire import codec, continuation
from rbee.wire.catalog import DownloadEvent, DownloadSpec, ModelFile, ModelKind
from rbee.wire.draining import DrainReason
from rbee.wire.events import Call, End, Failure, JobEvent, Score, Started, StopReason, Token, Vector, last, name_of
from rbee.wire.inference import InferenceRequest, Readiness, TokenCount
from rbee.wire.jobs import Work
from rbee.wire.pools import Device, GpuInventory, HostResources, Need, PoolSnapshot
from rbee.wire.sse import Frame
from rbee.wire.workers import Backend, SpawnEvent, WorkerExit, WorkerSpec, WorkerState, WorkerStatus
from tests.support.serving import served

SECRET = "the-fake-workers-secret"
GIB = 1 << 30


@dataclass
class Generation:
    request: InferenceRequest
    events: list[JobEvent] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: bool = False

    def say(self, event: JobEvent) -> None:
        self.events.append(event)
        news, self.news = self.news, asyncio.Event()
        news.set()


class FakeWorker:
    """``open`` lets it generate; while it is closed it stands still before the next token."""

    def __init__(self, worker: str = "worker-cpu-0", model: str = "tiny", slots: int = 1) -> None:
        self.id, self.model, self.slots = worker, model, slots
        self.generations: dict[str, Generation] = {}
        self.requests: list[InferenceRequest] = []
        self.request_ids: list[str] = []
        self.attached_after: list[int] = []
        self.cancelled: list[str] = []
        self.open = asyncio.Event()
        self.open.set()
        self.pause_at: int | None = None
        self.refusals: list[RbeeError] = []
        self.failure: Failure | None = None
        self.calls: list[Call] = []
        self.address = ""
        self.draining = False
        self.deaf = False
        self.ctx = 0
        self.counted = 0
        self.script: list[JobEvent] = []
        self._streams: dict[asyncio.Task[None], Request] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator["FakeWorker"]:
        app = _app(f"fake-worker-{uuid4().hex[:8]}", SECRET)
        app.add_route(self._infer, "/v1/inference", methods=["POST"])
        app.add_route(self._attach, "/v1/inference/<job>/events")
        app.add_route(self._cancel, "/v1/inference/<job>", methods=["DELETE"])
        app.add_route(self._drain, "/v1/drain", methods=["POST"])
        app.add_route(self._ready, "/v1/ready")
        app.add_route(self._count, "/v1/tokens", methods=["POST"])
        async with served(app) as url:
            self.address = url.removeprefix("http://")
            yield self
            await self.die()

    def status(self, state: WorkerState = WorkerState.READY, **facts: Any) -> WorkerStatus:
        return WorkerStatus(
            id=self.id,
            state=state,
            model=self.model,
            backend=Backend.CPU,
            address=self.address,
            slots=self.slots,
            ctx=self.ctx,
            **facts,
        )

    def told(self, asked: InferenceRequest) -> list[JobEvent]:
        """Return what it says to ``asked`` in place of words; nothing: words."""
        return self.script

    async def die(self) -> None:
        """End every stream in the middle and forget everything, as a process does that is killed and restarted."""
        self.generations.clear()
        generating = list(self._tasks)
        for task in generating:
            task.cancel()
        await self.cut()
        if generating:
            await asyncio.wait(generating)

    async def cut(self) -> None:
        """Cut the lines; generations go on."""
        streams = list(self._streams.items())
        for task, request in streams:
            if request.transport is not None:
                request.transport.abort()
            task.cancel()
        if streams:
            await asyncio.wait([task for task, _ in streams])

    async def _infer(self, request: Request) -> None:
        asked = body(request, InferenceRequest)
        self.request_ids.append(request.ctx.request_id)
        if self.refusals:
            raise self.refusals.pop(0)
        job = asked.id or "nameless"
        if job in self.generations and not last(self.generations[job].events[-1]):
            raise Conflict(f"generation {job} runs already")
        self.requests.append(asked)
        generation = self.generations[job] = Generation(asked)
        task = asyncio.create_task(self._generate(generation))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await self._stream(request, generation, 0)

    async def _attach(self, request: Request, job: str) -> None:
        after = int(request.headers.get("last-event-id", "0"))
        self.attached_after.append(after)
        while self.deaf:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await self._stream(request, self._find(job), after)

    async def _cancel(self, _: Request, job: str) -> HTTPResponse:
        self.cancelled.append(job)
        generation = self._find(job)
        generation.cancelled = True
        self.open.set()
        return empty()

    async def _drain(self, _: Request) -> HTTPResponse:
        self.draining = True
        return empty()

    async def _count(self, request: Request) -> HTTPResponse:
        """A word is a token here."""
        asked = body(request, InferenceRequest)
        self.counted += 1
        said = [asked.prompt or "", *(message.content for message in asked.messages or ())]
        return reply(TokenCount(tokens=len(" ".join(said).split()), context_tokens=self.ctx))

    async def _ready(self, _: Request) -> HTTPResponse:
        while self.deaf:  # noqa: ASYNC110  (a host whose cable was pulled)
            await asyncio.sleep(0.05)
        return reply(Readiness(ready=True, state="ready", model=self.model, worker=self.id, slots=1, slots_busy=0))

    def _find(self, job: str) -> Generation:
        if job not in self.generations:
            raise NotFound(f"no generation {job} here")
        return self.generations[job]

    async def _generate(self, generation: Generation) -> None:
        asked = generation.request
        generation.say(Started(worker=self.id, model=self.model, seed=7, id=asked.id))
        told = self.told(asked)
        if told:
            for event in told:
                await self.open.wait()
                generation.say(event)
            return
        if asked.work is not Work.GENERATE:
            await self._work_on_inputs(generation)
            return
        for piece in self.calls:
            generation.say(piece)
        if self.calls:
            stop = StopReason.TOOL_CALLS
            generation.say(End(tokens_in=3, tokens_out=len(self.calls), stop_reason=stop, decode_ms=1.0, ttft_ms=1.0))
            return
        made = said = len(continuation.unpacked(asked.continue_from))
        for made in range(said, asked.max_tokens):
            if self.pause_at == made:
                self.open.clear()
            await self.open.wait()
            if generation.cancelled:
                break
            generation.say(Token(i=made, t=f"w{made} ", ids=(made,)))
            await asyncio.sleep(0)
        if self.failure is not None:
            generation.say(self.failure)
            return
        stop = StopReason.CANCELLED if generation.cancelled else StopReason.MAX_TOKENS
        out = made if generation.cancelled else asked.max_tokens
        generation.say(End(tokens_in=3, tokens_out=out, stop_reason=stop, decode_ms=1.0, ttft_ms=1.0))

    async def _work_on_inputs(self, generation: Generation) -> None:
        """A vector is (1, 0); a document is the better, the longer it is."""
        asked = generation.request
        for index, text in enumerate(asked.inputs):
            if self.pause_at == index:
                self.open.clear()
            await self.open.wait()
            if asked.work is Work.EMBED:
                generation.say(Vector(index=index, data="AACAPwAAAAA=", tokens=2))
            else:
                generation.say(Score(index=index, score=float(len(text)), tokens=2))
        stop = StopReason.EOS
        generation.say(End(tokens_in=2 * len(asked.inputs), tokens_out=0, stop_reason=stop, decode_ms=1.0, ttft_ms=1.0))

    async def _stream(self, request: Request, generation: Generation, after: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._streams[task] = request
        try:
            await sse.stream(request, _frames(generation, after))
        finally:
            del self._streams[task]


class FakePool:
    """Answers for its workers; ``exits`` says how each ended. Being asked makes it speak to the queen, too."""

    def __init__(self, pool: str = "blep", *workers: FakeWorker, models: tuple[str, ...] = ("tiny",)) -> None:
        self.id, self.workers, self.models = pool, list(workers), models
        self.instance = f"instance-of-{pool}"
        self.states: dict[str, WorkerState] = {}
        self.facts: dict[str, dict[str, Any]] = {}
        self.evicted: list[str] = []
        self.devices: tuple[Device, ...] = ()
        self.kinds: dict[str, ModelKind] = {}
        self.architectures: dict[str, str] = {}
        self.needs: tuple[Need, ...] = ()
        self.exits: dict[str, WorkerExit] = {}
        self.gone: set[str] = set()
        self.asked = 0
        self.spawned: list[WorkerSpec] = []
        self.spawn_failures: list[RbeeError] = []
        self.spawning = asyncio.Event()
        self.spawning.set()
        self.to_spawn: list[FakeWorker] = []
        self.downloads: list[DownloadEvent] = []
        self.downloaded: list[str] = []
        self.download_failure: RbeeError | None = None
        self.free_bytes = 8 * GIB
        self.url = ""
        self.woken = asyncio.Event()
        self.drained: list[str] = []
        self.draining = False
        self.drain_until_ms: int | None = None
        self.drain_reason: DrainReason | None = None
        self.casualties: dict[str, str] = {}
        self.at_ms = 1
        self.speak: Callable[[], Awaitable[None]] | None = None

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator["FakePool"]:
        app = _app(f"fake-pool-{uuid4().hex[:8]}", "")
        app.add_route(self._state, "/v2/state")
        app.add_route(self._get_worker, "/v2/workers/<worker>")
        app.add_route(self._stop_worker, "/v2/workers/<worker>", methods=["DELETE"], name="stop_worker")
        app.add_route(self._evict, "/v2/workers/<worker>/evict", methods=["POST"])
        app.add_route(self._spawn, "/v2/workers", methods=["POST"])
        app.add_route(self._download, "/v2/models", methods=["POST"])
        app.add_route(self._drain, "/v2/<what:(drain|undrain)>", methods=["POST"])
        async with served(app) as url:
            self.url = url
            yield self

    def snapshot(self) -> PoolSnapshot:
        return PoolSnapshot(
            id=self.id,
            instance=self.instance,
            url=self.url or "http://127.0.0.1:9",
            version="0",
            at_ms=self.at_ms,
            draining=self.draining,
            drain_until_ms=self.drain_until_ms,
            drain_reason=self.drain_reason,
            gpus=GpuInventory(reason="a fake"),
            host=HostResources(
                cpus=2, memory_total_bytes=8 * GIB, memory_available_bytes=self.free_bytes, disk_free_bytes=GIB
            ),
            workers=tuple(self._status(worker) for worker in self.workers if worker.id not in self.gone),
            models=tuple(
                ModelFile(
                    id=model,
                    reference=f"file:/models/{model}.gguf",
                    paths=(),
                    size_bytes=1 << 20,
                    kind=self.kinds.get(model, ModelKind.GENERATE),
                    architecture=self.architectures.get(model, "llama"),
                )
                for model in self.models
            ),
            devices=self.devices,
            needs=self.needs,
            worker_secrets={worker.id: SECRET for worker in self.workers},
        )

    def _status(self, worker: FakeWorker) -> WorkerStatus:
        facts = self.facts.get(worker.id, {})
        return worker.status(
            self.states.get(worker.id, WorkerState.READY), last_exit=self.exits.get(worker.id), **facts
        )

    async def _state(self, _: Request) -> HTTPResponse:
        self.asked += 1
        self.woken.set()
        if self.speak is not None:
            await self.speak()
        return reply(codec.plain(self.snapshot()) | {"worker_secrets": {}})

    async def _get_worker(self, _: Request, worker: str) -> HTTPResponse:
        found = next((each for each in self.workers if each.id == worker and worker not in self.gone), None)
        if found is None and worker in self.casualties:
            raise NotFound(self.casualties[worker], details={"casualty": True})
        if found is None:
            raise NotFound(f"no worker {worker}")
        return reply(self._status(found))

    async def _stop_worker(self, _: Request, worker: str) -> HTTPResponse:
        self.gone.add(worker)
        return empty()

    async def _evict(self, _: Request, worker: str) -> HTTPResponse:
        self.evicted.append(worker)
        self.states[worker] = WorkerState.ASLEEP
        if self.speak is not None:
            await self.speak()
        return empty()

    async def _drain(self, _: Request, what: str) -> HTTPResponse:
        self.drained.append(what)
        return empty()

    async def _spawn(self, request: Request) -> None:
        self.spawned.append(body(request, WorkerSpec))
        if self.spawn_failures:
            raise self.spawn_failures.pop(0)
        await sse.stream(request, self._spawning())

    async def _download(self, request: Request) -> None:
        self.downloaded.append(body(request, DownloadSpec).model)
        if self.download_failure is not None:
            raise self.download_failure
        await sse.stream(request, self._downloading())

    async def _downloading(self) -> AsyncIterator[Frame]:
        for event in self.downloads:
            yield Frame(event="progress" if event.model is None else "done", data=codec.dump_json(event))

    async def _spawning(self) -> AsyncIterator[Frame]:
        starting = SpawnEvent(state="starting", progress=0.5, message="loading")
        yield Frame(event="progress", data=codec.dump_json(starting))
        await self.spawning.wait()
        worker = self.to_spawn.pop(0)
        self.workers.append(worker)
        ready = SpawnEvent(state="ready", worker=worker.status())
        yield Frame(event="ready", data=codec.dump_json(ready))


async def _frames(generation: Generation, after: int) -> AsyncIterator[Frame]:
    number = after
    while True:
        news = generation.news
        while number < len(generation.events):
            event = generation.events[number]
            number += 1
            yield Frame(event=name_of(event), data=codec.dump_json(event), id=str(number))
            if last(event):
                return
        await news.wait()


def _app(name: str, token: str) -> App:
    return create_app(
        name,
        source="fake",
        access=Access(tokens=(token,) if token else (), callers={}),
        metrics=CollectorRegistry(),
        body_limit_bytes=1 << 20,
        connections=1000,
    )
