"""What property tests go without: a process for each of their schemas."""

from collections.abc import Iterator

import pytest

from rbee.llm_worker.guidance import trial


@pytest.fixture(scope="module")
def untried() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "attempt", lambda _: None)
        yield
