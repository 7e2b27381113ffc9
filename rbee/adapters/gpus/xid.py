"""Critical errors of NVIDIA GPUs (XIDs), as the driver announces them: docs.nvidia.com/deploy/xid-errors.

The driver tells those who have asked before, so the question stays open between two looks.
"""

import contextlib
import ctypes
from collections.abc import Mapping
from typing import Any

import pynvml

MOST = 100
"""Events taken at one look; a GPU that fails in a loop must not keep us."""


class XidWatch:
    """Remembers the last one of each GPU by its UUID; an index is another GPU's once one has gone."""

    def __init__(self) -> None:
        self._set: Any = None
        self._watched: Mapping[int, str] = {}
        self._last: dict[str, int] = {}

    def look(self, handles: Mapping[str, Any]) -> Mapping[str, int]:
        """Return the last XID of each GPU that had one, by UUID.

        Args:
            handles: of the GPUs that answer now, by UUID; when they change, the question is asked anew.
        """
        watched = {_address(handle): uuid for uuid, handle in handles.items()}
        try:
            if self._set is None or watched != self._watched:
                self._ask(handles, watched)
            self._take()
        except pynvml.NVMLError:
            self.forget()
        return dict(self._last)

    def forget(self) -> None:
        """Let the question go, but not the answers: a GPU that falls off the bus tells it to who watched it then."""
        if self._set is not None:
            with contextlib.suppress(pynvml.NVMLError):
                self._take()
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlEventSetFree(self._set)
        self._set, self._watched = None, {}

    def _ask(self, handles: Mapping[str, Any], watched: Mapping[int, str]) -> None:
        self.forget()
        self._set, self._watched = pynvml.nvmlEventSetCreate(), watched
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
                self._last[self._uuid(told.device)] = int(told.eventData)

    def _uuid(self, handle: Any) -> str:
        """A lost GPU is not asked who it is: it would not answer."""
        return self._watched.get(_address(handle)) or str(pynvml.nvmlDeviceGetUUID(handle))


def _address(handle: Any) -> int:
    return ctypes.cast(handle, ctypes.c_void_p).value or 0
