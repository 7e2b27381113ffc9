"""How long nobody reigns when a queen is killed: python -m bench.standby --database URL

Two queens share the PostgreSQL database that is named, which must be empty. Whoever reigns is killed, and started again
to stand by. Measured is from SIGKILL until the other one answers GET /v2/tasks, which one who stands by refuses.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.processes import BUILD, answering, free_port
from bench.report import Table, goal, program
from rbee.errors import ConfigInvalid

WITHIN_MS = 10_000.0


class _Queen:
    """One of the two, killed and started as often as needed."""

    def __init__(self, config: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._argv = [f"{Path(sys.executable).parent}/queen-rbee", f"--config={config}", f"--bind={self.address}"]
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self, *, reigns: bool) -> None:
        self._process = subprocess.Popen(self._argv, stderr=subprocess.DEVNULL)  # noqa: ASYNC220  (it only begins it)
        await self.answers("/v2/tasks" if reigns else "/health")

    async def answers(self, path: str = "/v2/tasks") -> None:
        """Return when she does; only one who reigns answers there."""
        assert self._process is not None
        await answering(self._process.pid, self.address, path)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


async def measure(turns: int = 10, database: str = "") -> Table:
    """Kill whoever reigns, ``turns`` times."""
    if not database:
        raise ConfigInvalid("--database is not given", hint="createdb bench; --database postgresql:///bench")
    took_ms = []
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="standby-") as where:
        config = Path(where) / "rbee.toml"
        config.write_text(f"[queen]\ndatabase = '{database}'\npools = []\n")
        reigning, waiting = _Queen(config), _Queen(config)
        try:
            await reigning.start(reigns=True)
            for _ in range(turns):
                await waiting.start(reigns=False)
                began_s = time.perf_counter()
                reigning.kill()
                await waiting.answers()
                took_ms.append((time.perf_counter() - began_s) * 1000)
                reigning, waiting = waiting, reigning
        finally:
            reigning.kill()
            waiting.kill()
    worst = max(took_ms)
    return Table(
        name="standby",
        ran=f"Two queens over one PostgreSQL on this machine; who reigned was killed {turns} times.",
        columns=("", "p50 ms", "longest ms", "goal for the longest"),
        rows=[["nobody reigns", statistics.median(took_ms), worst, goal(worst, WITHIN_MS)]],
    )


if __name__ == "__main__":
    program(__doc__, measure, turns=10, database="")
