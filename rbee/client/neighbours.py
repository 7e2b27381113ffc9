"""Other pools as places to copy models from: over the LAN, before anybody asks the hub."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from rbee import log
from rbee.client.endpoint import part
from rbee.client.http import HttpClient
from rbee.client.pool import PoolClient
from rbee.client.queen import QueenClient
from rbee.client.reigning import Reigning
from rbee.errors import DownloadFailed, RbeeError, Timeout
from rbee.pool_core.ports import Body, Offer, RemoteFile
from rbee.wire.catalog import ModelFile, ModelPart
from rbee.wire.pools import PoolState, PoolStatus

ASK_S = 10.0

Connect = Callable[[str, str], HttpClient]
"""Gives a connection to a URL, and what to call who answers there."""


class NeighbourClient(PoolClient):
    """A pool's operations, and what only another pool asks for."""

    async def list_parts(self, model: str) -> tuple[ModelPart, ...]:
        """Return the files of ``model``, as ``PoolSource`` reads them."""
        return await self._list(ModelPart, f"/v2/models/{part(model)}/parts")


class PoolSource:
    """The files of one model at one pool; ``pool_core.ports.Source``."""

    def __init__(self, pool: PoolStatus, model: str, connect: Connect) -> None:
        self.name = f"pool {pool.id}"
        self._url, self._model, self._connect = pool.url, model, connect

    @contextlib.asynccontextmanager
    async def read(self, file: RemoteFile, offset: int) -> AsyncIterator[Body]:
        """Raises DownloadFailed, now or while reading: refused, cut, or not the file that was promised."""
        number = int(file.repo.rpartition("/")[2])
        path = f"/v2/models/{quote(self._model, safe='')}/parts/{number}"
        try:
            async with self._connect(self._url, self.name) as http, http.bytes_from(path, offset) as body:
                yield Body(*body)
        except DownloadFailed:
            raise
        except RbeeError as error:
            raise DownloadFailed(f"{self.name} did not deliver {file.path}: {error.message}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class QueensNeighbours:
    """The pools that a queen knows, but for ourselves; ``pool_core.ports.Neighbours``."""

    queen: str
    own_id: str
    connect: Connect

    async def offers(self, wanted: Callable[[ModelFile], bool]) -> Sequence[Offer]:
        """Return who has a model that is ``wanted``. A pool that does not answer soon is passed over.

        Raises:
            RbeeError: the queen does not answer, so nobody is known.
        """
        try:
            async with asyncio.timeout(ASK_S), Reigning(self.queen, self._to_queen) as http:
                pools = await QueenClient(http).list_pools()
        except TimeoutError:
            raise Timeout(f"queen at {self.queen} did not answer within {ASK_S:g} s") from None
        there = [pool for pool in pools if pool.id != self.own_id and pool.state is not PoolState.LOST]
        found = await asyncio.gather(*(self._offer(pool, wanted) for pool in there))
        return [offer for offer in found if offer is not None]

    def _to_queen(self, url: str) -> HttpClient:
        return self.connect(url, "queen")

    async def _offer(self, pool: PoolStatus, wanted: Callable[[ModelFile], bool]) -> Offer | None:
        try:
            async with asyncio.timeout(ASK_S), self.connect(pool.url, f"pool {pool.id}") as http:
                client = NeighbourClient(http)
                model = next((model for model in await client.list_models() if wanted(model)), None)
                if model is None:
                    return None
                parts = await client.list_parts(model.id)
        except (RbeeError, TimeoutError) as error:
            why = error.message if isinstance(error, RbeeError) else f"no answer within {ASK_S:g} s"
            log.warning("neighbour.passed_over", neighbour=pool.id, error=why)
            return None
        files = tuple(
            RemoteFile(f"{pool.id}/{n}", model.revision, file.name, file.size_bytes, file.sha256)
            for n, file in enumerate(parts)
        )
        return Offer(model=model, files=files, source=PoolSource(pool, model.id, self.connect))
