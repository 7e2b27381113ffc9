"""A real llm-worker-rbee with the small model, as its own process; only its pool is a fake."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rbee.client.worker import WorkerClient
from rbee.errors import RbeeError
from rbee.wire.events import Token
from rbee.wire.inference import InferenceRequest
from tests.assets import tiny_gguf
from tests.fakes.worker_server import SECRET, FakeWorker
from tests.rig.waiting import PATIENCE
from tests.support.ports import kept_port

SLOTS = 2
_RUN = "import sys; from rbee.llm_worker.main import main; sys.exit(main())"


@dataclass(frozen=True)
class RealWorker:
    address: str
    log: Path
    pid: int
    model: str = "tiny"
    id: str = "worker-cpu-0"

    @property
    def face(self) -> FakeWorker:
        """What a FakePool says of it."""
        made = FakeWorker(self.id, self.model, slots=SLOTS)
        made.address = self.address
        return made

    def client(self) -> WorkerClient:
        return WorkerClient.at(self.address, SECRET)

    async def ready(self) -> None:
        """Return when it has the model. It is another process, so one has to ask."""
        async with contextlib.aclosing(self.client()) as client, asyncio.timeout(20 * PATIENCE):
            while not await _ready(client):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def says(self, request: InferenceRequest) -> str:
        """Return what it says when nothing happens to it."""
        async with contextlib.aclosing(self.client()) as client:
            told = [event async for batch in client.infer(request) for _, event in batch]
            return "".join(event.t for event in told if isinstance(event, Token))

    def endings(self) -> Sequence[dict[str, str]]:
        """Return what its log says of each generation that ended."""
        lines = [line for line in self.log.read_text().splitlines() if "inference.ended" in line]
        return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]


@contextlib.asynccontextmanager
async def real_worker(
    directory: Path, weights: Path | None = None, *, model: str = "tiny", number: int = 0, ctx: int = 512
) -> AsyncIterator[RealWorker]:
    """
    Args:
        weights: a GGUF file; None: those of the small model.
    """
    weights, worker = weights or tiny_gguf(directory / "tiny.gguf", quantised=True), f"worker-cpu-{number}"
    (directory / "secret").write_text(SECRET)
    environ = {**os.environ, "CREDENTIALS_DIRECTORY": str(directory)}
    file = directory / f"{worker}.log"
    with kept_port() as port, file.open("ab") as log:
        address = f"127.0.0.1:{port}"
        words = [
            f"--id={worker}", f"--model={model}", "--backend=cpu", f"--address={address}", f"--ctx={ctx}",
            f"--slots={SLOTS}", "--threads=1", "--idle=3600", str(weights),
        ]  # fmt: skip
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", _RUN, *words, env=environ, stderr=log)
        try:
            made = RealWorker(address, file, process.pid, model, worker)
            await made.ready()
            yield made
        finally:
            with contextlib.suppress(ProcessLookupError):  # a test killed it
                process.kill()
            await process.wait()


async def _ready(client: WorkerClient) -> bool:
    try:
        return (await client.readiness()).ready
    except RbeeError:
        return False
