"""A pool that drains, as a file in the state directory: daemon and direct commands see the same one."""

from pathlib import Path


class FileDrainFlag:
    """``draining`` is there while the pool refuses new work; it outlives daemons and reboots.

    In it is until when what runs may stay, in milliseconds since the epoch; it is empty where there is no such time.
    """

    def __init__(self, state_dir: Path) -> None:
        self._file = state_dir / "draining"

    def is_set(self) -> bool:
        return self._file.exists()

    def until_ms(self) -> int | None:
        try:
            text = self._file.read_text().strip()
        except OSError:
            return None
        return int(text) if text.isdecimal() else None

    def set(self, draining: bool, until_ms: int | None = None) -> None:
        if draining:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text("" if until_ms is None else f"{until_ms}\n")
        else:
            self._file.unlink(missing_ok=True)
