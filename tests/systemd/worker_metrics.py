"""What a worker says of itself, read at the worker."""

import http.client
import re
from dataclasses import dataclass

from tests.rig.waiting import wait_for
from tests.systemd.lab import Lab


@dataclass(frozen=True)
class Counts:
    """``ended`` and ``tokens`` count from the worker's start; a generation's tokens are counted when it ends."""

    busy: int
    ended: int
    tokens: int


class WorkerMetrics:
    """To be asked from within the host's network."""

    def __init__(self, lab: Lab, worker: str = "worker-cpu-0", port: int = 8001) -> None:
        self._port = port
        self._secret = lab.host.run(["cat", f"/run/rbee/workers/{worker}.secret"]).stdout.strip()

    def read(self) -> Counts:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {self._secret}"})
        text = connection.getresponse().read().decode()
        connection.close()
        return Counts(
            busy=_total(text, "rbee_worker_slots_busy"),
            ended=_total(text, "rbee_worker_generations_total"),
            tokens=_total(text, "rbee_worker_tokens_out_total"),
        )

    def wait_busy(self) -> None:
        wait_for(lambda: self.read().busy == 1, "the job to run", 30)

    def settled(self, before: Counts) -> Counts:
        """Return the counts once one more generation has ended and the slot is free."""

        def found() -> Counts | None:
            now = self.read()
            return now if now.ended > before.ended and now.busy == 0 else None

        return wait_for(found, "the slot to be free", 20) or before


def _total(text: str, name: str) -> int:
    return int(sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)))
