"""The bytes of a GGUF head, bounded: nothing is believed that the rest of the file has no room for."""

import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

from rbee.errors import InvalidRequest

_WINDOW = 1 << 18
_TEXT_MAX = 1 << 20
_TEXTS_MAX = 1 << 24
_LIST_MAX = 4096
_KEPT_MAX = 1 << 25
_NUMBER_BYTES = 32
_STRING, _ARRAY = 8, 9
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_SCALARS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: _U32,
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: _U64,
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
"""Number of a value type in the file → how it lies there. 8 is a text, 9 a list."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What is kept of a list of texts: how many, and the bytes of the longest."""

    count: int
    longest_bytes: int


def refuse(problem: str, offset: int) -> InvalidRequest:
    """Return the error that says what is wrong with the file, and where."""
    return InvalidRequest(problem, hint="get the file again, or convert it anew", details={"offset": offset})


class GgufReader:
    """Reads forward through ``stream`` with a window of 256 KiB; ``size_bytes`` is the whole file's."""

    def __init__(self, stream: BinaryIO, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._stream = stream
        self._window = b""
        self._at = 0
        self._before = 0
        self._kept_bytes = 0

    @property
    def offset(self) -> int:
        """Where in the file the next byte lies."""
        return self._before + self._at

    def take(self, length: int, what: str) -> bytes:
        """Return the next ``length`` bytes, of ``what``."""
        self._want(length, what)
        self._at += length
        return self._window[self._at - length : self._at]

    def take_rest(self) -> bytes:
        return self.take(self.size_bytes - self.offset, "the file")

    def skip(self, length: int, what: str) -> None:
        """Pass over ``length`` bytes without holding them."""
        self._room(length, what)
        if self._at + length <= len(self._window):
            self._at += length
            return
        self._before, self._at, self._window = self.offset + length, 0, b""
        self._stream.seek(self._before)

    def u32(self, what: str) -> int:
        return int(_U32.unpack(self.take(4, what))[0])

    def u64(self, what: str) -> int:
        return int(_U64.unpack(self.take(8, what))[0])

    def count(self, what: str, most: int) -> int:
        """Return how many ``what`` follow, at most ``most``."""
        start = self.offset
        found = self.u64(f"the number of {what}")
        if found > most:
            raise refuse(f"it says it has {found} {what}, expected at most {most}", start)
        return found

    def text(self, what: str) -> str:
        """Return a text; bytes that are no UTF-8 come back as U+FFFD."""
        start = self.offset
        length = self.u64(what)
        self._room(length, what)
        if length > _TEXT_MAX:
            raise refuse(f"{what} is a text of {length} bytes, expected at most {_TEXT_MAX}", start)
        self._keep(length, what)
        return self.take(length, what).decode("utf-8", "replace")

    def value(self, what: str) -> Any:
        """Return a typed value. A list of numbers is a tuple when short; of texts only number and length is kept."""
        kind = self.u32(what)
        return self._list(what) if kind == _ARRAY else self._scalar(kind, what)

    def _scalar(self, kind: int, what: str) -> Any:
        if kind == _STRING:
            return self.text(what)
        layout = _SCALARS.get(kind)
        if layout is None:
            raise refuse(f"{what} has type {kind}, which GGUF does not know", self.offset - 4)
        return layout.unpack(self.take(layout.size, what))[0]

    def _list(self, what: str) -> "tuple[Any, ...] | Texts | None":
        start = self.offset
        kind, length = self.u32(what), self.u64(what)
        if kind == _STRING:
            return Texts(length, self._skip_texts(length, what))
        layout = _SCALARS.get(kind)
        if layout is None:
            raise refuse(f"{what} is a list of type {kind}, which GGUF does not know", start)
        self._room(length * layout.size, what)
        if length > _LIST_MAX:
            self.skip(length * layout.size, what)
            return None
        self._keep(length * _NUMBER_BYTES, what)
        return tuple(layout.unpack(self.take(layout.size, what))[0] for _ in range(length))

    def _skip_texts(self, count: int, what: str) -> int:
        """Pass over ``count`` texts and return the bytes of the longest.

        Vocabularies have 100,000 and more, hence the loop over the window itself.
        """
        self._room(count * 8, what)
        if count > _TEXTS_MAX:
            raise refuse(f"{what} is a list of {count} texts, expected at most {_TEXTS_MAX}", self.offset)
        longest = 0
        while count:
            window, at, end = self._window, self._at, len(self._window)
            while count and at + 8 <= end:
                length = _U64.unpack_from(window, at)[0]
                if at + 8 + length > end:
                    break
                longest = max(longest, length)
                at += 8 + length
                count -= 1
            self._at = at
            if count:
                length = self.u64(what)
                self.skip(length, what)
                longest = max(longest, length)
                count -= 1
        return longest

    def _want(self, length: int, what: str) -> None:
        """Have the next ``length`` bytes in the window."""
        if self._at + length <= len(self._window):
            return
        self._room(length, what)
        rest = self._window[self._at :]
        self._before, self._at = self.offset, 0
        self._window = rest + self._stream.read(max(length - len(rest), _WINDOW))
        if len(self._window) < length:
            raise self._truncated(length, what)

    def _keep(self, size_bytes: int, what: str) -> None:
        """Count what stays in memory; a head of gigabytes is no model's."""
        self._kept_bytes += size_bytes
        if self._kept_bytes > _KEPT_MAX:
            raise refuse(f"{what} is beyond what a head may hold, {_KEPT_MAX} bytes", self.offset)

    def _room(self, length: int, what: str) -> None:
        if length > self.size_bytes - self.offset:
            raise self._truncated(length, what)

    def _truncated(self, length: int, what: str) -> InvalidRequest:
        left = self.size_bytes - self.offset
        return refuse(f"truncated: {what} needs {length} bytes at byte {self.offset}, {left} are left", self.offset)
