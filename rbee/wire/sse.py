"""Server-sent events: frames to bytes, bytes to frames (WHATWG HTML, section 9.2)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

KEEP_ALIVE = b": keep-alive\n\n"
LARGEST_FRAME_BYTES = 16 << 20


class Frame(NamedTuple):
    """One event. A tuple, since two are made for each token."""

    event: str
    data: str
    id: str | None = None

    def encode(self) -> bytes:
        number = "" if self.id is None else f"id: {self.id}\n"
        lines = "".join(f"data: {line}\n" for line in self.data.split("\n"))
        kind = f"event: {self.event}\n" if self.event else ""
        return f"{number}{kind}{lines}\n".encode()


@dataclass(slots=True)
class Parser:
    """Incremental: feed it whatever the socket gave, take whole frames.

    Raises:
        ValueError: a frame larger than ``LARGEST_FRAME_BYTES``, from a peer that is no peer of ours.
    """

    _rest: bytes = b""
    _fields: dict[str, list[str]] = field(default_factory=dict)

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        self._rest += chunk
        if len(self._rest) > LARGEST_FRAME_BYTES:
            raise ValueError(f"an event of more than {LARGEST_FRAME_BYTES} bytes")
        whole, found, rest = self._rest.rpartition(b"\n\n")
        if found and not self._fields:
            frames = [_ours(block) for block in whole.split(b"\n\n")]
            if None not in frames:
                self._rest = rest
                yield from filter(None, frames)
                return
        *lines, self._rest = self._rest.split(b"\n")
        for raw in lines:
            frame = self._line(raw.rstrip(b"\r").decode("utf-8", "replace"))
            if frame is not None:
                yield frame

    def _line(self, line: str) -> Frame | None:
        if line:
            word, _, value = line.partition(":")
            if word:
                self._fields.setdefault(word, []).append(value.removeprefix(" "))
            return None
        fields, self._fields = self._fields, {}
        if "data" not in fields:
            return None
        number = fields.get("id")
        return Frame(
            event=fields.get("event", ["message"])[-1],
            data="\n".join(fields["data"]),
            id=number[-1] if number else None,
        )


def _ours(block: bytes) -> Frame | None:
    """Return a frame that is written as ``Frame.encode`` does it; None for any other way of writing one."""
    lines = block.decode("utf-8", "replace").split("\n")
    if len(lines) != 3 or b"\r" in block:
        return None
    number, event, data = lines
    ours = number[:4] == "id: " and event[:7] == "event: " and data[:6] == "data: "
    return Frame(id=number[4:], event=event[7:], data=data[6:]) if ours else None
