"""Holding a model in memory, as far as one process shows it; that it stays there is in tests/systemd."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbee.llm_worker import holding


@pytest.fixture
def blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.usefixtures("blocked")
def test_who_is_told_to_end_while_it_loads_loads_no_more(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"x" * 4096)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)  # other threads would take it and end us
    with pytest.raises(InterruptedError):
        list(holding._lock(file))
    assert signal.sigwait({signal.SIGTERM}) is signal.SIGTERM
