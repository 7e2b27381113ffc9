"""The composition root of a worker: builds everything from the command line, and serves."""

import asyncio
import dataclasses
import os
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from rbee import __version__, config, log
from rbee.daemon.access import Access
from rbee.daemon.app import App, create_app, mount
from rbee.daemon.serve import listening_socket, serve
from rbee.errors import ConfigInvalid
from rbee.llm_worker import openai_routes, routes
from rbee.llm_worker.argv import Options
from rbee.llm_worker.engine import Engine
from rbee.llm_worker.keeping import Keeper
from rbee.llm_worker.leaving import Callers, OwnNotifier
from rbee.llm_worker.metrics import WorkerMetrics
from rbee.llm_worker.model_engine import ModelEngine
from rbee.llm_worker.ports import LoadedModel
from rbee.llm_worker.service import WorkerService
from rbee.llm_worker.shaping import shape_of
from rbee.llm_worker.watchdog import patience_s
from rbee.wire.operations import WORKER

BODY_LIMIT_BYTES = 8 << 20
CONNECTIONS = 1000
DRAIN_S, GRACE_S = 25.0, 4.0
"""On SIGTERM: for what runs to end by itself, then for its last bytes to be read; together below TimeoutStopSec."""

LEAVE_S = 60.0
"""For all that comes after the last connection, but for what a slow disk takes to keep what is known."""

ANSWER_S = 3600.0


def run(options: Options, environ: Mapping[str, str]) -> int:
    """Serve until told to stop, or idle; return the exit code.

    Raises:
        ConfigInvalid: no secret was handed over, or the address cannot be bound.
    """
    secret = config.read_token("", environ=environ, credential="secret")
    if not secret:
        raise ConfigInvalid(
            "no secret was handed over, expected the credential 'secret'", hint="rbee-hive worker spawn starts workers"
        )
    notifier = OwnNotifier.from_environ(environ)
    keeper = keeper_of(options, environ)
    app = make_app(options, secret, engine=make_engine(options, keeper=keeper), watchdog_s=notifier.watchdog_s)
    app.ctx.keeper = keeper
    app.ctx.notifier = notifier = dataclasses.replace(notifier, leaving=lambda: app.ctx.leaving)
    worker: WorkerService = app.ctx.worker
    serve(
        app,
        sock=listening_socket(None, options.address),
        notifier=notifier,
        vital=worker.standstill,
        status=worker.status,
        ready=worker.ready,
        grace_s=GRACE_S,
    )
    return worker.exit_code


def make_engine(options: Options, *, keeper: Keeper | None = None) -> ModelEngine:
    def load(on_progress: Callable[[float], bool]) -> LoadedModel:
        # llama.cpp's libraries are loaded in this thread, while the server already answers
        from rbee.llm_worker.llama import Model  # noqa: PLC0415

        return Model.load(
            options.model,
            options.path,
            gpus=options.devices,
            split=options.split,
            layers=options.gpu_layers,
            adapters=options.lora,
            on_progress=on_progress,
        )

    return ModelEngine(
        load,
        worker=options.id,
        model=options.model,
        slots=options.slots,
        context_tokens=options.ctx,
        threads=options.threads_for(len(os.sched_getaffinity(0))),
        batch_tokens=options.batch,
        kv=options.kv.value,
        shape_of=shape_of,
        keeper=keeper,
    )


def keeper_of(options: Options, environ: Mapping[str, str]) -> Keeper | None:
    """Return what keeps conversations over a sleep, in the folder that systemd gave the unit for it."""
    folder = environ.get("CACHE_DIRECTORY", "").partition(":")[0]
    if not options.keep or not folder:
        return None
    files = [f"{path} {Path(path).stat().st_size} {Path(path).stat().st_mtime_ns}" for path in _files(options)]
    return Keeper(Path(folder), [*files, options.kv, str(options.ctx), str(options.slots), __version__])


def _files(options: Options) -> Sequence[str]:
    return [path for path in (*options.path, *options.lora) if Path(path).is_file()]


def make_app(options: Options, secret: tuple[str, ...], *, engine: Engine, watchdog_s: float | None) -> App:
    """Return the application with its worker in ``app.ctx.worker``; loading begins when it is served."""
    metrics = WorkerMetrics()
    app = create_app(
        "llm-worker-rbee",
        source=f"worker:{options.id}",
        access=Access(tokens=secret, callers={}, loopback=False),
        metrics=metrics.registry,
        body_limit_bytes=BODY_LIMIT_BYTES,
        connections=CONNECTIONS,
    )
    worker = WorkerService(
        worker=options.id,
        model=options.model,
        engine=engine,
        metrics=metrics,
        idle_s=options.idle,
        patience_s=patience_s(watchdog_s),
        clock=time.monotonic,
        stop=lambda: _stop(app),
    )
    app.ctx.worker, app.ctx.keeper, app.ctx.farewells = worker, None, set()
    app.ctx.stopping = app.ctx.leaving = False  # for whatever reason; on our own account
    app.ctx.notifier = OwnNotifier(None)
    callers = app.ctx.callers = Callers()
    callers.watch(app)
    mount(app, WORKER, {name: callers.serving(handler) for name, handler in routes.HANDLERS.items()})
    openai_routes.mount(app, callers.serving)
    app.after_server_start(_starting)
    app.before_server_stop(_stopping)
    app.after_server_stop(_stopped)
    return app


def _stop(app: App) -> None:
    """Go on our own account. A request that comes in the same moment is still served, however long it takes."""
    if app.ctx.stopping:  # a server that is told so twice breaks off what it does to end
        return
    app.ctx.stopping = app.ctx.leaving = True
    app.config.GRACEFUL_SHUTDOWN_TIMEOUT = ANSWER_S
    app.stop(terminate=False)


async def _starting(app: App) -> None:
    await app.ctx.worker.start()


async def _stopping(app: App) -> None:
    """SIGTERM: nothing new, and a while for what runs. On our own account: no hurry, and still open for all."""
    worker: WorkerService = app.ctx.worker
    app.ctx.stopping = True
    if not app.ctx.leaving:
        await worker.finish(DRAIN_S)
        return
    _heed_sigterm(lambda: _meanwhile(app, worker.finish(DRAIN_S), "finish"))
    await worker.sessions.quiet()
    _meanwhile(app, app.ctx.callers.drop_silent(), "drop-silent")


def _heed_sigterm(finish: Callable[[], None]) -> None:
    """Call ``finish`` on SIGTERM, once or twice, also between two runs of the loop.

    Sanic lets it run again and again from here on, and what comes in between uvloop keeps until the next signal.
    """
    loop = asyncio.get_running_loop()

    def told(*_: object) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(finish)

    loop.add_signal_handler(signal.SIGTERM, finish)  # in the place of what would end the server again
    signal.signal(signal.SIGTERM, told)


def _meanwhile(app: App, work: Coroutine[Any, Any, None], name: str) -> None:
    app.ctx.farewells.add(asyncio.get_running_loop().create_task(work, name=name))


async def _stopped(app: App) -> None:
    worker: WorkerService = app.ctx.worker
    keeper: Keeper | None = app.ctx.keeper
    async with app.ctx.notifier.beating(lambda: LEAVE_S + (keeper.takes_s if keeper is not None else 0.0)):
        await worker.finish(DRAIN_S)
        for task in app.ctx.farewells:
            task.cancel()
        await worker.keep()
        await worker.close()
    log.debug("worker.closed")
