"""What slots know, kept on disk while the worker sleeps: a conversation goes on without being read again.

The files are prompts and answers in another form. They lie in a folder that only this worker can open, only while it
sleeps, or answers a last request that came as it went: whoever wakes takes them and removes them.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rbee import log
from rbee.llm_worker.ports import Context

LEAST_TOKENS = 32
"""What is shorter is read again as quickly."""

_NOTE = "slots.json"
_SPARE_BYTES = 64 << 20


class Keeper:
    """Saves slots to ``folder`` and restores them.

    Args:
        kind: what has to be the same for what is saved to mean anything: files, context, types.
    """

    def __init__(self, folder: Path, kind: Sequence[str]) -> None:
        self._folder = folder
        self._kind = hashlib.sha256("\n".join(kind).encode()).hexdigest()

    def save(self, context: Context, known: Sequence[tuple[int, Sequence[int]]]) -> None:
        """Write what is known, and nothing else; as much of it as there is room on the disk.

        Failing is no failure of the worker.
        """
        began_s = time.monotonic()
        self._clear()
        saved: list[int] = []
        with contextlib.suppress(OSError):
            for slot, tokens in known:
                if len(tokens) < LEAST_TOKENS or not self._has_room(saved):
                    continue
                if context.save(slot, str(self._file(slot)), tokens):
                    saved.append(slot)
            if saved:
                self._note().write_text(json.dumps({"kind": self._kind, "slots": saved}), encoding="utf-8")
        log.event("slots.kept", slots=len(saved), seconds=round(time.monotonic() - began_s, 3))

    def restore(self, context: Context) -> Iterator[tuple[int, list[int]]]:
        """Let the slots know what was saved, and remove it; yield each slot and its tokens."""
        try:
            note = json.loads(self._note().read_text(encoding="utf-8"))
            fits = note["kind"] == self._kind
            slots = [int(slot) for slot in note["slots"] if 0 <= int(slot) < context.slots]
        except (OSError, ValueError, KeyError, TypeError):
            fits, slots = False, []
        try:
            for slot in slots if fits else ():
                tokens = context.restore(slot, str(self._file(slot)))
                if tokens:
                    yield slot, tokens
        finally:
            self._clear()

    def _clear(self) -> None:
        with contextlib.suppress(OSError):
            for file in [self._note(), *self._folder.glob("slot-*.bin")]:
                file.unlink(missing_ok=True)

    def _has_room(self, saved: Sequence[int]) -> bool:
        """Say whether another slot as large as the largest so far fits on the disk, and leaves some."""
        sizes = [self._file(slot).stat().st_size for slot in saved]
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize > max(sizes, default=0) + _SPARE_BYTES

    def _file(self, slot: int) -> Path:
        return self._folder / f"slot-{slot}.bin"

    def _note(self) -> Path:
        return self._folder / _NOTE
