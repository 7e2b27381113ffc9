"""A caller of the queen who holds on to a job's events, whatever happens to the daemons."""

import asyncio
import threading

from rbee.client.endpoint import Transport
from rbee.client.queen import QueenClient
from rbee.wire.events import JobEvent, Token
from rbee.wire.jobs import JobSpec
from tests.rig.waiting import PATIENCE, wait_for
from tests.systemd.lab import Lab


class Story:
    """Reads one job's events in its own thread, in the host's network, through whatever happens to the daemons."""

    def __init__(self, lab: Lab, spec: JobSpec) -> None:
        self.lab, self.spec = lab, spec
        self.seen: list[tuple[int, JobEvent]] = []
        self.job = ""
        self.broke: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Story":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(10)

    def _run(self) -> None:
        try:
            asyncio.run(self._read())
        except BaseException as error:  # noqa: BLE001  (the test's own thread asks for it)
            self.broke = error

    async def _read(self) -> None:
        with self.lab.network():
            await self._read_here()

    async def _read_here(self) -> None:
        async with self.lab.http(source="queen", timeout_s=30) as http:
            await self._read_from(http)

    async def _read_from(self, http: Transport) -> None:
        queen = QueenClient(http)
        self.job = (await queen.submit_job(self.spec)).id
        async for number, event in queen.job_events(self.job):
            self.seen.append((number, event))

    def wait_for_tokens(self, more: int) -> None:
        goal = self.tokens + more
        wait_for(lambda: self.tokens >= goal or not self._thread.is_alive(), f"{goal} tokens", 60)
        assert self.broke is None, self.broke
        assert self.tokens >= goal, f"the stream of {self.job} ended before its token {goal}: {self.seen[-1:]}"

    def finish(self, timeout_s: float = 90) -> JobEvent:
        self._thread.join(timeout_s * PATIENCE)
        assert not self._thread.is_alive(), f"the stream of {self.job} did not end; {len(self.seen)} events came"
        assert self.broke is None, self.broke
        return self.seen[-1][1]

    @property
    def tokens(self) -> int:
        return sum(isinstance(event, Token) for _, event in self.seen)

    @property
    def text(self) -> str:
        return "".join(event.t for _, event in self.seen if isinstance(event, Token))
