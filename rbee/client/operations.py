"""What the operations of queen and pool have in common: a question over HTTP, and its answer as what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from rbee.errors import InvalidRequest, RbeeError
from rbee.wire import codec
from rbee.wire.envelope import from_envelope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rbee.client.endpoint import Params, Transport

T = TypeVar("T")


class Operations:
    """Operations at the other end of ``http``. An answer of another shape than expected is ``http.broken``."""

    def __init__(self, http: Transport) -> None:
        self._http = http

    async def _get(self, kind: type[T], path: str) -> T:
        return self._decoded(kind, await self._http.call("GET", path))

    async def _list(self, kind: type[T], path: str, params: Params | None = None) -> tuple[T, ...]:
        rows = await self._http.call("GET", path, params=params)
        if not isinstance(rows, list):
            raise self._http.broken("body is no list")
        return tuple(self._decoded(kind, row) for row in rows)

    async def _post(self, kind: type[T], path: str, body: Any = None, timeout_s: float | None = None) -> T:
        return self._decoded(kind, await self._http.call("POST", path, body=body, timeout_s=timeout_s))

    async def _follow(self, kind: type[T], path: str, body: Any, params: Params | None = None) -> AsyncIterator[T]:
        """Yield the events of an operation that takes its time; the event ``error`` is raised as what it is.

        Raises:
            RbeeError: as the other side did; internal when the stream ends without a last event.
        """
        frame = None
        async for frame in self._http.stream("POST", path, body=body, params=params):
            data = self._parsed(frame.data)
            if frame.event == "error":
                raise from_envelope(data, status=500, source=self._http.source)
            yield self._decoded(kind, data)
        if frame is None or frame.event == "progress":
            raise RbeeError(f"{self._http.source} ended the stream of {path} before its result", hint="try again")

    def _parsed(self, text: str) -> Any:
        try:
            return codec.parse_json(text.encode())
        except InvalidRequest as error:
            raise self._http.broken(error.message) from None

    def _decoded(self, kind: type[T], answer: Any) -> T:
        try:
            return codec.from_dict(kind, answer, lenient=True)
        except InvalidRequest as error:
            raise self._http.broken(error.message) from None
