"""Which worker has read the beginning of a prompt before, as far as the queen sent it there herself.

A prompt is cut into blocks; the hash of each covers all before it, so two prompts share as much as their lists do.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import TypeAlias

from rbee.orchestrator_core.prompts import text_of
from rbee.orchestrator_core.view import Key
from rbee.wire import codec
from rbee.wire.jobs import JobSpec

BLOCK_BYTES = 256
BLOCKS = 1024
PROMPTS_PER_SLOT = 2
SESSION_BYTES = 1 << 16
"""A session counts like this much of a common beginning: what it shares is more than its words show."""


def blocks_of(spec: JobSpec) -> tuple[bytes, ...]:
    """Return the hashes of the whole blocks a prompt begins with, of at most the first 256 KiB."""
    text = _text(spec)
    hashed, found = blake2b(spec.model.encode(), digest_size=16), []
    for start in range(0, min(len(text), BLOCKS * BLOCK_BYTES) - BLOCK_BYTES + 1, BLOCK_BYTES):
        hashed.update(text[start : start + BLOCK_BYTES])
        found.append(hashed.copy().digest())
    return tuple(found)


Session: TypeAlias = tuple[str, str]
"""Whose it is, and what it is called: two callers who call theirs the same share nothing."""


def session_of(caller: str, spec: JobSpec) -> Session | None:
    return None if spec.session is None else (caller, spec.session)


class Warmth:
    """Keeps the last prompts of each worker, two for each of its slots, and the last worker of each session."""

    def __init__(self) -> None:
        self._read: dict[Key, OrderedDict[tuple[bytes, ...], None]] = {}
        self._first: dict[bytes, dict[Key, int]] = {}
        self._sessions: OrderedDict[Session, Key] = OrderedDict()

    def note(self, key: Key, blocks: tuple[bytes, ...], *, slots: int, session: Session | None = None) -> None:
        """Take down that ``key`` reads a prompt now."""
        if session is not None:
            self._sessions[session] = key
            self._sessions.move_to_end(session)
            if len(self._sessions) > BLOCKS:
                self._sessions.popitem(last=False)
        if not blocks:
            return
        prompts = self._read.setdefault(key, OrderedDict())
        if blocks in prompts:
            prompts.move_to_end(blocks)
            return
        prompts[blocks] = None
        self._count(key, blocks, 1)
        while len(prompts) > PROMPTS_PER_SLOT * slots:
            self._count(key, prompts.popitem(last=False)[0], -1)

    def match(self, blocks: Sequence[bytes], session: Session | None = None) -> Mapping[Key, int]:
        """Return how many bytes of such a prompt's beginning each worker has read; others have read none."""
        found: dict[Key, int] = {}
        for key in self._first.get(blocks[0], ()) if blocks else ():
            found[key] = max(_common(blocks, each) for each in self._read[key]) * BLOCK_BYTES
        last = self._sessions.get(session) if session is not None else None
        if last is not None:
            found[last] = found.get(last, 0) + SESSION_BYTES
        return found

    def forget(self, key: Key) -> None:
        """Its process has ended, and with it what it had read."""
        for blocks in self._read.pop(key, ()):
            self._count(key, blocks, -1)
        for session in [session for session, where in self._sessions.items() if where == key]:
            del self._sessions[session]

    def _count(self, key: Key, blocks: Sequence[bytes], change: int) -> None:
        having = self._first.setdefault(blocks[0], {})
        having[key] = having.get(key, 0) + change
        if not having[key]:
            del having[key]
        if not having:
            del self._first[blocks[0]]


def _common(some: Sequence[bytes], others: Sequence[bytes]) -> int:
    """Return how many blocks two prompts share; each hash covers all before it, so halving finds it."""
    low, high = 0, min(len(some), len(others))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if some[middle - 1] == others[middle - 1] else (low, middle - 1)
    return low


def _text(spec: JobSpec) -> bytes:
    if spec.prompt is not None:
        return spec.prompt.encode()
    told = [codec.dump_json(tool) for tool in spec.tools]
    told += [f"{each.role.value}\0{text_of(each)}" for each in spec.messages or ()]
    return b"".join(f"{each}\0".encode() for each in told)
