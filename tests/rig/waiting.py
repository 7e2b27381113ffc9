"""Waiting for something that announces itself by no event."""

import time
from collections.abc import Callable
from typing import TypeVar

POLL_S = 0.02

T = TypeVar("T")


def wait_for(condition: Callable[[], T], what: str, timeout_s: float = 10.0) -> T:
    """Return the first true value of ``condition``, asked every 20 ms.

    Raises:
        TimeoutError: it stayed false for ``timeout_s``; the message names ``what``.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:g} s for {what}")
        time.sleep(POLL_S)
