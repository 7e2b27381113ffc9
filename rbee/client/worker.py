"""A worker's own API: the token path, which the queen speaks, and the drain, which its pool speaks."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import TypeAlias

from rbee.client.endpoint import part
from rbee.client.line_client import LineClient
from rbee.client.lines import Lines
from rbee.errors import WorkerLost
from rbee.wire import codec, events
from rbee.wire.events import JobEvent
from rbee.wire.inference import InferenceRequest, Readiness, TokenCount
from rbee.wire.sse import Frame

DRAINING_S = 1800.0
Numbered: TypeAlias = Sequence[tuple[int, JobEvent]]
"""Events with the worker's own ids."""


class WorkerClient:
    """One worker at the other end of ``http``.

    A worker that goes away is WorkerLost, whatever the socket said.
    """

    def __init__(self, http: LineClient) -> None:
        self._http = http

    @classmethod
    def at(cls, address: str, secret: str, *, worker: str = "worker", lines: Lines | None = None) -> "WorkerClient":
        """Return a client for the worker that listens on ``host:port``.

        Args:
            lines: where connections are kept that have nothing to say now.
        """
        http = LineClient(f"http://{address}", token=secret, source=worker, unreachable=WorkerLost)
        http.lines = lines
        return cls(http)

    def prepare(self) -> None:
        """Begin to connect: an ``infer`` or ``attach`` follows."""
        self._http.prepare()

    async def close(self) -> None:
        await self._http.close()

    aclose = close

    def infer(self, request: InferenceRequest, *, request_id: str = "") -> AsyncIterator[Numbered]:
        """Start a generation and follow it: whatever has come since the last time, at once."""
        return self._follow(self._http.batches("POST", "/v1/inference", body=request, headers=_traced(request_id)))

    def attach(self, job: str, *, after: int = 0) -> AsyncIterator[Numbered]:
        """Follow a generation that runs, or ended a while ago, from the event after ``after``."""
        headers = {"Last-Event-ID": str(after)} if after else None
        return self._follow(self._http.batches("GET", f"/v1/inference/{part(job)}/events", headers=headers))

    def infer_ahead(self, request: InferenceRequest, *, request_id: str = "") -> None:
        """Start a generation that ``infer`` will follow, though its caller has something else to wait for first."""
        self._http.ask_ahead("POST", "/v1/inference", body=request, headers=_traced(request_id))

    def hang_up(self) -> None:
        """End what is followed, as WorkerLost."""
        self._http.hang_up()

    async def cancel(self, job: str, *, timeout_s: float | None = None) -> None:
        await self._http.call("DELETE", f"/v1/inference/{part(job)}", timeout_s=timeout_s)

    async def drain(self) -> None:
        await self._http.call("POST", "/v1/drain")

    async def sleep(self) -> None:
        """Raises Conflict when it has work."""
        await self._http.call("POST", "/v1/sleep")

    async def count_tokens(self, request: InferenceRequest) -> TokenCount:
        answer = await self._http.call("POST", "/v1/tokens", body=request)
        return codec.from_dict(TokenCount, answer, lenient=True)

    async def readiness(self) -> Readiness:
        return codec.from_dict(Readiness, await self._http.call("GET", "/v1/ready"), lenient=True)

    async def _follow(self, batches: AsyncGenerator[Sequence[Frame], None]) -> AsyncIterator[Numbered]:
        """Yield events until the last one.

        Raises:
            WorkerLost: the stream was cut before it.
        """
        async with contextlib.aclosing(batches) as stream:
            async for batch in stream:
                found = [numbered for frame in batch if (numbered := events.numbered(frame)) is not None]
                ends = bool(found) and events.last(found[-1][1])
                if ends:
                    self._http.release()
                yield found
                if ends:
                    return
        raise WorkerLost(f"{self._http.source} closed the stream before its end")


def _traced(request_id: str) -> dict[str, str]:
    return {"X-Request-Id": request_id} if request_id else {}


class HttpWorkerControl:
    """``pool_core.ports.WorkerControl`` over HTTP."""

    async def drain(self, address: str, secret: str) -> None:
        async with contextlib.aclosing(WorkerClient.at(address, secret)) as worker:
            await worker.drain()

    async def sleep(self, address: str, secret: str) -> None:
        async with contextlib.aclosing(WorkerClient.at(address, secret)) as worker:
            await worker.sleep()
