"""Waiting for something that announces itself by no event."""

import time
from collections.abc import Callable
from typing import TypeVar

POLL_S = 0.02

PATIENCE = 3
"""How many times as long as on a quiet machine a busy one may take; who gets what he waits for does not notice."""

T = TypeVar("T")


def wait_for(condition: Callable[[], T], what: str, timeout_s: float = 10.0) -> T:
    """Return the first true value of ``condition``, asked every 20 ms.

    Raises:
        TimeoutError: it stayed false for ``PATIENCE`` times ``timeout_s``; the message names ``what``.
    """
    timeout_s *= PATIENCE
    deadline = time.monotonic() + timeout_s
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:g} s for {what}")
        time.sleep(POLL_S)
