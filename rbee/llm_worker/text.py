"""From a model's tokens, which are bytes, to text that can be shown: whole characters, nothing past a stop string."""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, field


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")("replace")


@dataclass(slots=True)
class StopMatcher:
    """Lets text through up to the first of ``stops``, and holds back whatever may become one."""

    stops: Sequence[str]
    met: str = ""
    """The stop string that came, if one has."""
    _held: str = ""

    def feed(self, text: str) -> tuple[str, bool]:
        """Return what may be shown now, and whether a stop string was met: then nothing follows."""
        if not self.stops:
            return text, False
        self._held += text
        met = [(at, stop) for at, stop in ((self._held.find(stop), stop) for stop in self.stops) if at >= 0]
        if met:
            at, self.met = min(met)
            shown, self._held = self._held[:at], ""
            return shown, True
        keep = max((_overlap(self._held, stop) for stop in self.stops), default=0)
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown, False

    def flush(self) -> str:
        """Return what was held back: the text ended without becoming a stop string."""
        shown, self._held = self._held, ""
        return shown


@dataclass(slots=True)
class TextFlow:
    """Bytes of tokens in, text to show out."""

    stops: Sequence[str]
    _matcher: StopMatcher = field(init=False)
    _characters: codecs.IncrementalDecoder = field(default_factory=_decoder, init=False)

    def __post_init__(self) -> None:
        self._matcher = StopMatcher(self.stops)

    @property
    def met(self) -> str:
        """Return the stop string that came; empty while none has."""
        return self._matcher.met

    def feed(self, piece: bytes) -> tuple[str, bool]:
        """Return the text that ``piece`` completes, empty while it may go on; and whether a stop string was met."""
        return self._matcher.feed(self._characters.decode(piece))

    def flush(self) -> str:
        """Return the rest at the end. Half a character becomes U+FFFD, for the model did say something there."""
        shown, stopped = self._matcher.feed(self._characters.decode(b"", final=True))
        return shown if stopped else shown + self._matcher.flush()


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of ``text`` that is a beginning of ``stop``."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
