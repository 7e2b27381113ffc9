"""A fake llama.cpp, for faults only; everything that works is tested with the real one."""

import threading
from collections.abc import Callable, Sequence

from rbee.llm_worker.ports import Decoder, LoadedModel, Sampling
from rbee.llm_worker.template import Render


class FakeDecoder:
    """Says "a" for ever. Hangs in ``read`` of a single token while ``hangs`` is set, deaf to ``interrupt``."""

    def __init__(self) -> None:
        self.hangs = threading.Event()
        self.entered = threading.Event()
        self.let_go = threading.Event()
        self.fails = False

    def begin(self, sampling: Sampling) -> None: ...

    def read(self, tokens: Sequence[int]) -> None:
        if self.fails:
            raise OSError("the fake decoder fails as it was told to")
        if self.hangs.is_set():
            self.entered.set()
            self.let_go.wait()

    def remember(self, tokens: Sequence[int]) -> None: ...

    def draw(self) -> int:
        return 1

    def interrupt(self) -> None: ...

    def end(self) -> None: ...

    def close(self) -> None: ...


class FakeModel:
    context_tokens = 32_768
    vocabulary = 100
    render: Render | None = None

    def __init__(self) -> None:
        self.decoder = FakeDecoder()

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        return [2]

    def tokenize_chat(self, text: str) -> list[int]:
        return [2]

    def piece(self, token: int) -> bytes:
        return b"a"

    def ends(self, token: int) -> bool:
        return False

    def slot(self, *, context_tokens: int, threads: int) -> Decoder:
        return self.decoder

    def close(self) -> None: ...

    def loader(self, on_progress: Callable[[float], bool]) -> LoadedModel:
        on_progress(1.0)
        return self
