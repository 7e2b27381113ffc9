"""Server-sent events: frames to bytes, bytes to frames (WHATWG HTML, section 9.2)."""

from collections.abc import Iterator
from dataclasses import dataclass, field

KEEP_ALIVE = b": keep-alive\n\n"
LARGEST_FRAME_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
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
