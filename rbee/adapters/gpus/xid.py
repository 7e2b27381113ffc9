"""Critical errors of NVIDIA GPUs (XIDs), as the driver announces them: docs.nvidia.com/deploy/xid-errors.

The driver tells those who have asked before, so the question stays open between two looks.
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import pynvml

MOST = 100
"""Events taken at one look; a GPU that fails in a loop must not keep us."""


class XidWatch:
    """Remembers the last one of each GPU, by its index."""

    def __init__(self) -> None:
        self._set: Any = None
        self._watched: Sequence[str] = ()
        self._last: dict[int, int] = {}

    def look(self, handles: Mapping[int, Any], uuids: Sequence[str]) -> Mapping[int, int]:
        """Return the last XID of each GPU that had one.

        Args:
            handles: of the GPUs that are there now, by index.
            uuids: theirs; when they change, the question is asked anew.
        """
        try:
            if self._set is None or tuple(uuids) != self._watched:
                self._ask(handles, uuids)
            self._take()
        except pynvml.NVMLError:
            self.forget()
        return dict(self._last)

    def forget(self) -> None:
        """Let the question go; the library was shut down, or has lost a GPU."""
        if self._set is not None:
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlEventSetFree(self._set)
        self._set = None

    def _ask(self, handles: Mapping[int, Any], uuids: Sequence[str]) -> None:
        self.forget()
        self._set, self._watched = pynvml.nvmlEventSetCreate(), tuple(uuids)
        for handle in handles.values():
            with contextlib.suppress(pynvml.NVMLError):  # not every GPU announces anything
                pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, self._set)

    def _take(self) -> None:
        for _ in range(MOST):
            try:
                told = pynvml.nvmlEventSetWait_v2(self._set, 0)
            except pynvml.NVMLError as error:
                if error.value == pynvml.NVML_ERROR_TIMEOUT:
                    return
                raise
            if told.eventType == pynvml.nvmlEventTypeXidCriticalError:
                self._last[int(pynvml.nvmlDeviceGetIndex(told.device))] = int(told.eventData)
