"""The pools: what they say, whose they are, how to reach them and their workers, and how to wake them."""

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable

from rbee import log
from rbee.client.http import HttpClient
from rbee.client.lines import Lines
from rbee.client.pool import PoolClient
from rbee.client.worker import WorkerClient
from rbee.errors import NotFound, PoolUnreachable, RbeeError, Timeout
from rbee.orchestrator_core.fleet import Fleet
from rbee.orchestrator_core.names import Names
from rbee.orchestrator_core.poolview import PoolView
from rbee.orchestrator_core.registry import Claim, Registry
from rbee.queen.store import pools
from rbee.queen.store.store import Store
from rbee.wire.pools import PoolRegistration, PoolSnapshot, PoolState
from rbee.wire.workers import WorkerStatus

ASK_S = 5.0
REFRESH_S = 2.0
WAKE_PAUSE_S = 0.5
LONGEST_WAKE_PAUSE_S = 5.0


class Pools:
    """Registry, addresses and connections.

    Args:
        names: of models.
        token: the fleet token to present; empty for none.
        urls: pools to ask when none is known.
        ca_file: PEM file of who signs the pools' certificates; empty: the system's list.
        changed: called when a pool said something that may let a job go.
    """

    def __init__(
        self,
        store: Store,
        *,
        names: Names,
        lost_after_s: float,
        token: str,
        urls: Iterable[str],
        changed: Callable[[], None],
        ca_file: str = "",
    ) -> None:
        self._store = store
        self._registry = Registry(lost_after_s=lost_after_s, names=names)
        self.token = token
        self._ca_file = ca_file
        self.urls = tuple(urls)
        self._changed = changed
        self._news = asyncio.Event()
        self._clients: dict[str, HttpClient] = {}
        self._lines = Lines()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._began_s = time.monotonic()
        self._lost_after_s = lost_after_s

    async def start(self) -> None:
        """Remember the pools of before and ask them to speak."""
        for claim in await self._store.read(pools.known):
            self._registry.register(claim)
        self._task = asyncio.create_task(self._keep_waking(), name="pools-wake")
        self.wake()

    async def close(self) -> None:
        tasks = [task for task in (self._task, self._refreshing) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for client in self._clients.values():
            await client.close()
        self._clients.clear()
        self._lines.close()

    def view(self) -> tuple[PoolView, ...]:
        return self._registry.view(time.monotonic())

    def heard(self) -> list[PoolSnapshot]:
        """Return what the pools that are here said last."""
        return self._registry.heard(time.monotonic())

    def fleet(self) -> Fleet:
        """Return all pools, found by what they have."""
        return self._registry.fleet(time.monotonic())

    def rename(self, names: Names) -> None:
        """Take other names of models."""
        self._registry.rename(names)

    def find(self, pool: str) -> PoolView:
        return self._registry.find(pool, time.monotonic())

    def settling(self) -> bool:
        """Say whether pools of before have had no time yet to speak."""
        young = time.monotonic() - self._began_s < self._lost_after_s * 2
        return young and any(pool.snapshot is None for pool in self.view())

    def absent(self) -> list[str]:
        return [pool.id for pool in self.view() if pool.state is PoolState.LOST]

    async def register(self, pool: str, registration: PoolRegistration) -> PoolView:
        """Raises Conflict when the id is another instance's."""
        await self._claim(
            Claim(id=pool, instance=registration.instance, url=registration.url, version=registration.version)
        )
        self.wake()
        return self.find(pool)

    async def heartbeat(self, snapshot: PoolSnapshot) -> None:
        """Raises Conflict when the id is another instance's."""
        await self._claim(Claim(id=snapshot.id, instance=snapshot.instance, url=snapshot.url, version=snapshot.version))
        changed = self._registry.heartbeat(snapshot, time.monotonic())
        self._heard()
        if changed:
            self._changed()

    async def set_draining(self, pool: str, draining: bool, deadline_s: float | None = None) -> None:
        """Mark it here, and tell it; one that cannot be told is still not given work.

        Raises:
            PoolUnreachable: it could not be told of its deadline, so what runs there stays.
            ShuttingDown: it goes on to drain for a reason of its own.
        """
        self.find(pool)
        claim = self._registry.claim(pool)
        if claim is not None:
            changed = dataclasses.replace(claim, draining=draining)
            await self._store.write(pools.save, changed)
            self._registry.register(changed)
        self._tell()
        try:
            await (self.client(pool).drain_pool(deadline_s) if draining else self.client(pool).undrain_pool())
        except (PoolUnreachable, Timeout) as error:
            log.warning("pool.unreachable", pool=pool, error=error.message)
            if deadline_s is not None:
                error.message = f"pool {pool} gets no new work, but what runs there stays: {error.message}"
                raise

    async def remove(self, pool: str) -> None:
        self._registry.remove(pool)
        await self._store.write(pools.remove, pool)
        log.event("pool.removed", pool=pool)
        self._tell()

    def client(self, pool: str) -> PoolClient:
        """Raises NotFound."""
        url = self.find(pool).url
        if url not in self._clients:
            self._clients[url] = HttpClient(url, token=self.token, source=f"pool {pool}", ca_file=self._ca_file)
        return PoolClient(self._clients[url])

    def worker(self, pool: str, worker: str) -> WorkerClient | None:
        """Return a client for ``worker``, for the caller to close; None while its pool has not told where it is."""
        found = self.status(pool, worker)
        if found is None:
            return None
        secret = self._registry.secret(pool, worker)
        return WorkerClient.at(found.address, secret, worker=f"worker {worker} on {pool}", lines=self._lines)

    def status(self, pool: str, worker: str) -> WorkerStatus | None:
        try:
            return self.find(pool).worker(worker)
        except NotFound:
            return None

    def doubt(self, pool: str, worker: str) -> None:
        self._registry.doubt(pool, worker)

    async def until(self, satisfied: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until ``satisfied`` by what pools say; False when time ran out."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not satisfied():
                    await self._news.wait()
        return satisfied()

    def heard_of(self, pool: str) -> Callable[[], bool]:
        """Return whether a snapshot of ``pool`` has come, as something to wait for; a removed one never comes."""

        def heard() -> bool:
            known = next((view for view in self.view() if view.id == pool), None)
            return known is None or known.snapshot is not None

        return heard

    def wake(self) -> None:
        """Ask the pools that are not here: the connection alone starts one whose socket systemd holds."""
        self._wake.set()

    async def spoken(self) -> None:
        """Return when some pool has: a queen that has just been woken has heard none yet, and asks them first."""
        if not any(pool.snapshot for pool in self.view()):
            await self.refresh()

    async def refresh(self) -> None:
        """Let every pool that is there speak now: what it has may have changed since it last did.

        However many want that at once, the pools are asked once. One that said it would leave is left in peace while it
        does, and one whose service was stopped also afterwards: to ask is to connect, and would start it anew. A host
        that was shut down may be up again, and then nobody else wakes its pool.
        """
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh(), name="pools-refresh")
        await asyncio.shield(self._refreshing)

    async def _refresh(self) -> None:
        began_s = time.monotonic()
        views = self.view()
        left = {view.url.rstrip("/") for view in views if view.stays_away}
        urls = [view.url.rstrip("/") for view in views] + [url.rstrip("/") for url in self.urls]
        answered = await asyncio.gather(*(self._ask(url) for url in dict.fromkeys(urls) if url not in left))
        if any(answered):
            await self.until(lambda: self._spoke_since(began_s), REFRESH_S)

    def _spoke_since(self, began_s: float) -> bool:
        ages = [view.age_s for view in self.view() if view.state is not PoolState.LOST and not view.left]
        return bool(ages) and all(age is not None and time.monotonic() - age >= began_s for age in ages)

    async def _claim(self, claim: Claim) -> None:
        """Whoever comes first has the id, also while that is being written; what cannot be written is no claim."""
        known = self._registry.claim(claim.id)
        wanted = self._registry.claimed(claim)
        if wanted == known:
            return
        self._registry.register(wanted)
        try:
            await self._store.write(pools.save, wanted)
        except RbeeError:
            self._registry.restore(claim.id, known)
            raise
        log.event("pool.moved" if known else "pool.registered", pool=claim.id, url=claim.url, version=claim.version)

    def _tell(self) -> None:
        self._heard()
        self._changed()

    def _heard(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _keep_waking(self) -> None:
        pause_s = WAKE_PAUSE_S
        while True:
            await self._wake.wait()
            self._wake.clear()
            urls = self._absent_urls()
            await asyncio.gather(*(self._ask(url) for url in urls))
            pause_s = min(pause_s * 2, LONGEST_WAKE_PAUSE_S) if urls else WAKE_PAUSE_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._news.wait()
                    pause_s = WAKE_PAUSE_S

    def _absent_urls(self) -> list[str]:
        views = self.view()
        here = {view.url.rstrip("/") for view in views if view.state is not PoolState.LOST}
        known = [view.url.rstrip("/") for view in views]
        return [url for url in dict.fromkeys([*known, *(url.rstrip("/") for url in self.urls)]) if url not in here]

    async def _ask(self, url: str) -> bool:
        """Ask the pool there how it is, which makes it speak to us; say whether it answered."""
        source = f"pool at {url}"
        async with HttpClient(url, token=self.token, source=source, timeout_s=ASK_S, ca_file=self._ca_file) as http:
            try:
                await http.call("GET", "/v2/state")
                return True
            except RbeeError as error:
                log.debug("pool.silent", url=url, error=error.message)
                return False
