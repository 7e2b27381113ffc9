"""One line in, one line out, a connection each; gone when nobody has asked for a while."""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from rbee import log
from rbee.broker import requests
from rbee.broker.requests import Bounds, Request
from rbee.errors import InvalidRequest, NotPermitted, RbeeError, Timeout
from rbee.pool_core.ports import HoldPlan, UnitManager
from rbee.wire import codec
from rbee.wire.envelope import to_envelope

LONGEST_LINE_BYTES = 16 << 10
PEER_S = 5.0
OPERATION_S = 120.0  # a stop waits for the worker's own grace
_TURNS = 5
"""So many times at the most the event loop turns before what serves an accepted caller begins; asyncio takes 2."""

_PEER = struct.Struct("3i")  # pid, uid, gid: SO_PEERCRED, unix(7)


class Units(UnitManager, Protocol):
    """What the broker does it with: it starts what holds a model, and leaves the waiting to who asked."""

    async def begin_to_hold(self, plan: HoldPlan) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What rbee.toml says at a moment: by which units are made, and what they may be."""

    units: Units
    bounds: Bounds


class Broker:
    """Answers the users in ``uids``.

    Args:
        units: ends and lists what there is, whatever rbee.toml says meanwhile.
        terms: of what is made; asked for each request, since a broker that is not idle outlives a change of rbee.toml.
    """

    def __init__(self, units: Units, terms: Callable[[], Terms], uids: Collection[int], *, idle_s: float) -> None:
        self._units, self._terms, self._uids = units, terms, frozenset(uids)
        self._idle_s = idle_s
        self._busy: set[asyncio.Task[None]] = set()
        self._last_s = time.monotonic()

    async def serve(self, listening: socket.socket) -> None:
        """Serve until idle. What connects a moment too late is systemd's: it starts the next broker."""
        server = await asyncio.start_unix_server(self._connected, sock=listening, limit=LONGEST_LINE_BYTES)
        try:
            while self._busy or (left_s := self._last_s + self._idle_s - time.monotonic()) > 0:
                await (asyncio.wait(self._busy) if self._busy else asyncio.sleep(left_s))
        finally:
            server.close()
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        while self._busy:
            await asyncio.wait(self._busy)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (streams run this in a task)
        self._busy.add(task)
        try:
            await self._converse(reader, writer)
        except (OSError, TimeoutError) as error:
            log.warning("peer.left", error=repr(error))
        finally:
            self._busy.discard(task)
            self._last_s = time.monotonic()
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = await self._answer(reader, writer.get_extra_info("socket"))
        async with asyncio.timeout(PEER_S):
            writer.write(codec.dump_json(answer).encode() + b"\n")
            await writer.drain()
            writer.write_eof()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, peer: socket.socket) -> dict[str, Any]:
        try:
            self._check_peer(peer)
            request = requests.read(await _line(reader))
            async with asyncio.timeout(OPERATION_S):
                return await self._perform(request)
        except RbeeError as error:
            log.warning("request.refused", code=error.code, error=error.message)
            return to_envelope(error, source="broker")
        except TimeoutError:
            return to_envelope(Timeout(f"systemd took longer than {OPERATION_S:g} s"), source="broker")

    async def _perform(self, request: Request) -> dict[str, Any]:
        if request.plan is not None:
            terms = self._terms()
            plan = requests.plan_of(request.plan, terms.bounds)
            await terms.units.create(plan)
            log.event("worker.created", worker=plan.id, model=plan.model, address=plan.address)
        elif request.held is not None:
            terms = self._terms()
            held = requests.hold_of(request.held, terms.bounds)
            await terms.units.begin_to_hold(held)
            log.event("model.holding", model=held.model, size_bytes=held.size_bytes)
        elif request.id is not None and request.op == "unhold":
            await self._units.release_model(request.id)
            log.event("model.released", model=request.id)
        elif request.id is not None and request.release:
            await self._units.release(request.id)
            log.event("worker.released", worker=request.id)
        elif request.id is not None:
            await self._units.stop(request.id)
            log.event("worker.stopped", worker=request.id)
        else:
            return {"workers": codec.plain(await self._units.list())}
        return {"ok": True}

    def _check_peer(self, peer: socket.socket) -> None:
        """The socket's mode keeps others out already; this holds should somebody loosen it."""
        _, uid, _ = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if uid not in self._uids:
            raise NotPermitted(f"uid {uid} may not ask the broker")


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        async with asyncio.timeout(PEER_S):
            return await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError:
        raise InvalidRequest(f"the request is longer than {LONGEST_LINE_BYTES} bytes") from None
    except TimeoutError:
        raise InvalidRequest(f"no whole line came within {PEER_S:g} s") from None
