"""Asking a worker for a job before it is on disk, and taking that back."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from rbee import log
from rbee.client.worker import WorkerClient
from rbee.daemon.closing import closing
from rbee.errors import RbeeError
from rbee.orchestrator_core.view import Key
from rbee.queen.newcomer import Newcomer
from rbee.queen.pools import Pools
from rbee.queen.relay import request_of
from rbee.queen.slots import Slots

CANCEL_S = 5.0
"""A worker that has not ended a job by then is not waited for."""


class Ahead:
    """
    Args:
        changed: called when a slot is free again.
    """

    def __init__(self, pools: Pools, slots: Slots, changed: Callable[[], None]) -> None:
        self._pools = pools
        self._slots = slots
        self._changed = changed

    def ask(self, newcomer: Newcomer, key: Key) -> WorkerClient | None:
        """Ask a worker for a job that is about to be stored, where nobody else can know of it yet.

        Should the queen end before it is stored, the worker generates for a while for nobody. What has an id of its
        caller's may be known, and waits; then this only connects.
        """
        client = self._pools.worker(*key)
        if client is None:
            return None
        if newcomer.is_known:
            client.prepare()
        else:
            request = request_of(newcomer.spec, newcomer.id)
            client.infer_ahead(request, request_id=newcomer.asker.request_id)
        return client

    def take_back(self, newcomer: Newcomer, key: Key, client: WorkerClient) -> Coroutine[Any, Any, None]:
        """Let a worker end what could not be stored, if it was asked; its slot is taken until that is done."""
        self._slots.take(key)
        return self._take_back(newcomer, key, client)

    async def _take_back(self, newcomer: Newcomer, key: Key, client: WorkerClient) -> None:
        try:
            if not newcomer.is_known:
                async with asyncio.timeout(CANCEL_S):
                    async with closing(client.infer(request_of(newcomer.spec, newcomer.id))) as told:
                        await anext(told)  # once it has it, it can be told
                        await client.cancel(newcomer.id)
        except (RbeeError, TimeoutError, StopAsyncIteration) as error:
            log.warning("job.not_taken_back", job=newcomer.id, error=str(error))
        finally:
            self._slots.let_go(key)
            self._changed()
            await client.close()
