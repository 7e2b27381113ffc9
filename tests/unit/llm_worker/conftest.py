"""The real llama.cpp on the tiny model, and a worker served on a loopback port."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rbee.llm_worker.argv import Options
from rbee.llm_worker.engine import Engine
from rbee.llm_worker.model_engine import ModelEngine
from rbee.llm_worker.service import WorkerService
from rbee.llm_worker.worker import make_app, make_engine
from rbee.wire.workers import Backend
from tests.assets import tiny_gguf
from tests.assets.kinds import tiny_encoder
from tests.support.serving import served

SECRET = "a-secret-of-the-tests"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_gguf(tmp_path_factory.mktemp("models") / "tiny.gguf", quantised=True)


@pytest.fixture(scope="session")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tools in words are long for a model whose tokens are characters."""
    return tiny_gguf(tmp_path_factory.mktemp("models") / "roomy.gguf", context_tokens=4096, quantised=True)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder") / "encoder.gguf")


@pytest.fixture(scope="session")
def ranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("ranker") / "ranker.gguf", ranks=True)


def options(path: Path | Sequence[Path], **wanted: Any) -> Options:
    """Return a command line for the model in ``path``, or in its parts."""
    paths = [path] if isinstance(path, Path) else path
    given = {"id": "worker-cpu-0", "model": "tiny", "address": "127.0.0.1:0", "ctx": 512, "slots": 1, "idle": 300}
    return Options(backend=Backend.CPU, threads=1, path=tuple(map(str, paths)), **{**given, **wanted})


@pytest.fixture
def engine_of(tiny: Path) -> Iterator[Callable[..., ModelEngine]]:
    """Make loaded engines; they are closed at the end."""
    made: list[ModelEngine] = []

    def make(path: Path | Sequence[Path] = tiny, **wanted: Any) -> ModelEngine:
        engine = make_engine(options(path, **wanted))
        made.append(engine)
        engine.load(lambda _: None)
        return engine

    yield make
    for engine in made:
        engine.close()


class Worker:
    """A served worker: its base URL, its inside, a client that knows the secret, and how often it wanted to stop."""

    def __init__(self, url: str, service: WorkerService, http: aiohttp.ClientSession) -> None:
        self.url, self.service, self.http = url, service, http
        self.stops: list[bool] = []
        service.stop = lambda: self.stops.append(True)


Serve = Callable[..., AbstractAsyncContextManager[Worker]]


@pytest.fixture
def serve(tiny: Path) -> Serve:
    """Serve a worker; ``engine`` replaces the real one, for faults only."""

    @contextlib.asynccontextmanager
    async def make(path: Path = tiny, engine: Engine | None = None, **wanted: Any) -> AsyncIterator[Worker]:
        opts = options(path, **wanted)
        app = make_app(opts, (SECRET,), engine=engine or make_engine(opts), watchdog_s=None)
        app.ctx.worker.stop = lambda: None  # the loop is the test's
        async with served(app) as url:
            headers = {"Authorization": f"Bearer {SECRET}"}
            async with aiohttp.ClientSession(url, headers=headers) as http:
                yield Worker(url, app.ctx.worker, http)

    return make
