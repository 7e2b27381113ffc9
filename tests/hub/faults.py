"""What the hub is told to do wrong."""

from dataclasses import dataclass, field, fields
from typing import Any


@dataclass
class Faults:
    """All off. Counts go down as faults are had; -1 never ends."""

    cut_after_bytes: int | None = field(default=None, metadata={"help": "drop the connection after so many bytes"})
    cuts: int = field(default=-1, metadata={"help": "how often to drop it"})
    stall_after_bytes: int | None = field(default=None, metadata={"help": "say nothing more after so many bytes"})
    stalls: int = field(default=-1, metadata={"help": "how often to fall silent"})
    rate_bytes_per_s: int | None = field(default=None, metadata={"help": "send so slowly"})
    lie_about_sha256: bool = field(default=False, metadata={"help": "promise another sum than the file has"})
    hide_sha256: bool = field(default=False, metadata={"help": "promise no sum at all"})
    flip_byte_at: int | None = field(default=None, metadata={"help": "send this byte wrong"})
    flips: int = field(default=-1, metadata={"help": "how often to send it wrong"})
    extra_bytes: int = field(default=0, metadata={"help": "send so many bytes too many, without a length"})
    ignore_range: bool = field(default=False, metadata={"help": "always answer from the start"})
    token: str = field(default="", metadata={"help": "answer 401 to whoever does not show it"})
    gated: bool = field(default=False, metadata={"help": "answer 403 for files, as for terms not accepted"})
    file_status: int = field(default=0, metadata={"help": "answer files with this status"})
    api_status: int = field(default=0, metadata={"help": "answer questions about repositories with this status"})
    failures: int = field(default=-1, metadata={"help": "how often to answer with these statuses"})
    portal: bool = field(default=False, metadata={"help": "answer all with a page of HTML and 200"})
    redirect_to: str = field(default="", metadata={"help": "send files' readers to this base URL, as to a CDN"})

    def take(self, count: str) -> bool:
        """Use up one of ``count``; return whether there was one."""
        left: int = getattr(self, count)
        if left > 0:
            setattr(self, count, left - 1)
        return left != 0

    def set(self, **values: Any) -> None:
        """Set some, and all others off."""
        unknown = set(values) - {f.name for f in fields(self)}
        if unknown:
            raise ValueError(f"no such fault: {', '.join(sorted(unknown))}")
        self.__init__(**values)  # type: ignore[misc]
