"""A pool that drains, as a file in the state directory: daemon and direct commands see the same one."""

from pathlib import Path


class FileDrainFlag:
    """``draining`` is there while the pool refuses new work; it outlives daemons and reboots."""

    def __init__(self, state_dir: Path) -> None:
        self._file = state_dir / "draining"

    def is_set(self) -> bool:
        return self._file.exists()

    def set(self, draining: bool) -> None:
        if draining:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.touch()
        else:
            self._file.unlink(missing_ok=True)
