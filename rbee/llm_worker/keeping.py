"""What slots know, kept on disk while the worker sleeps: a conversation goes on without being read again.

The files are prompts and answers in another form. They lie in a folder that only its user can open, and only while
it sleeps: written by its last act, and taken away by its first.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from rbee import log
from rbee.llm_worker.ports import Context
from rbee.pool_core import disk

LEAST_TOKENS = 32
"""What is shorter is read again as quickly."""

_NOTE = "slots.json"


class Keeper:
    """Saves slots to ``folder`` and restores them. What lies there is taken at once, so that it outlives no crash.

    Args:
        kind: what has to be the same for what is saved to mean anything: files, context, types.
    """

    takes_s = 0.0
    """How long a slow disk may take over what is being saved."""

    def __init__(self, folder: Path, kind: Sequence[str]) -> None:
        self._folder = folder
        self._kind = hashlib.sha256("\n".join(kind).encode()).hexdigest()
        self._taken = self._take()

    def save(self, context: Context, known: Sequence[tuple[int, Sequence[int]]]) -> None:
        """Write what is known, and nothing else; as much of it as there is room on the disk.

        Failing is no failure of the worker.
        """
        began_s = time.monotonic()
        saved: list[int] = []
        sizes = {slot: context.state_bytes(slot) for slot, _ in known}
        self.takes_s = sum(sizes.values()) / disk.SLOW_BYTES_PER_S
        try:
            saved += (slot for slot, tokens in known if self._save(context, slot, tokens, sizes[slot]))
            if saved:
                self._note().write_text(json.dumps({"kind": self._kind, "slots": saved}), encoding="utf-8")
            else:
                self._note().unlink(missing_ok=True)
        except OSError as error:
            log.warning("slots.not_kept", reason=str(error))
            saved = []
            self._clear()
        log.event("slots.kept", slots=len(saved), seconds=round(time.monotonic() - began_s, 3))

    def restore(self, context: Context) -> Iterator[tuple[int, list[int]]]:
        """Let the slots know what was saved; yield each slot and its tokens."""
        taken, self._taken = self._taken, {}
        for slot, file in taken.items():
            with file:
                # It has no name any more, but can be opened by its number.
                tokens = context.restore(slot, f"/proc/self/fd/{file.fileno()}") if slot < context.slots else []
            if tokens:
                yield slot, tokens

    def _take(self) -> dict[int, BinaryIO]:
        """Open what fits, and remove all that there is."""
        taken: dict[int, BinaryIO] = {}
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            note = json.loads(self._note().read_text(encoding="utf-8"))
            for slot in map(int, note["slots"]) if note["kind"] == self._kind else ():
                with contextlib.suppress(FileNotFoundError):
                    taken[slot] = self._file(slot).open("rb")
        self._clear()
        return taken

    def _save(self, context: Context, slot: int, tokens: Sequence[int], size: int) -> bool:
        """Say whether the slot is on disk, whole; if not, nothing of it is."""
        file = self._file(slot)
        wanted = len(tokens) >= LEAST_TOKENS and self._has_room(size)
        # llama.cpp does not look whether the last of what it wrote came to the disk.
        if wanted and context.save(slot, str(file), tokens) and file.stat().st_size >= size:
            return True
        file.unlink(missing_ok=True)
        return False

    def _clear(self) -> None:
        with contextlib.suppress(OSError):
            for file in [self._note(), *self._folder.glob("slot-*.bin")]:
                file.unlink(missing_ok=True)

    def _has_room(self, size: int) -> bool:
        there = os.statvfs(self._folder)
        spare = disk.spare_bytes(there.f_blocks * there.f_frsize)
        return there.f_bavail * there.f_frsize >= size + spare

    def _file(self, slot: int) -> Path:
        return self._folder / f"slot-{slot}.bin"

    def _note(self) -> Path:
        return self._folder / _NOTE
