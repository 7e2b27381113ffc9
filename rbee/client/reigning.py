"""Several queens of whom one reigns: whoever reigned last is asked first, and of the others whoever does now."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rbee.client.endpoint import Params, Transport
from rbee.errors import PoolUnreachable, RbeeError, Standby

if TYPE_CHECKING:
    from rbee.wire.sse import Frame


def addresses(queens: str) -> tuple[str, ...]:
    """Return each URL of a ``queen`` setting: one, or several with commas between."""
    return tuple(each.strip() for each in queens.split(","))


class Reigning:
    """A ``Transport`` to whichever of ``queens`` reigns.

    Goes on to the next one only where nothing can have been done yet: she stands by, or the connection was never made.

    Args:
        queens: a ``queen`` setting.
        connect: makes the way to one of them.
    """

    def __init__(self, queens: str, connect: Callable[[str], Transport]) -> None:
        self._queens = [connect(url) for url in addresses(queens)]
        self._at = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def source(self) -> str:
        return self._queens[self._at].source

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        def ask(queen: Transport) -> Awaitable[Any]:
            return queen.call(method, path, body=body, params=params, headers=headers, timeout_s=timeout_s)

        return await self._first(ask)

    async def stream(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> "AsyncIterator[Frame]":
        for n in range(len(self._queens)):
            begun = False
            try:
                async for frame in self._queens[self._at].stream(
                    method, path, body=body, params=params, headers=headers
                ):
                    begun = True
                    yield frame
                return
            except RbeeError as error:
                if begun or n == len(self._queens) - 1 or not self._goes_on(error):
                    raise

    def broken(self, problem: str) -> RbeeError:
        return self._queens[self._at].broken(problem)

    async def close(self) -> None:
        for queen in self._queens:
            await queen.close()

    async def _first(self, ask: Callable[[Transport], Awaitable[Any]]) -> Any:
        refusals: list[RbeeError] = []
        for _ in self._queens:
            try:
                return await ask(self._queens[self._at])
            except RbeeError as error:
                refusals.append(error)
                if not self._goes_on(error):
                    raise
        raise next((each for each in refusals if isinstance(each, Standby)), refusals[0])

    def _goes_on(self, error: RbeeError) -> bool:
        """Say whether the next one may be asked, and have her asked first from now on."""
        goes_on = isinstance(error, Standby) or (isinstance(error, PoolUnreachable) and not error.details.get("sent"))
        if goes_on:
            self._at = (self._at + 1) % len(self._queens)
        return goes_on
