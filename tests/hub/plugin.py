"""The ``hub`` fixture: a hub in the test's own event loop."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.assets import tiny_gguf
from tests.hub.app import HubState, create_hub
from tests.hub.faults import Faults
from tests.support.serving import served


@dataclass
class LoopbackHub(HubState):
    """A running hub. Set ``faults``, look at ``asked``."""

    url: str = ""

    def give(self, repo: str, file: str = "tiny.gguf", layers: int = 2, seed: int = 0) -> Path:
        """Put the small model into a repository and return where it lies."""
        path = self.root / repo / file
        path.parent.mkdir(parents=True, exist_ok=True)
        return tiny_gguf(path, layers=layers, seed=seed)


@pytest.fixture
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LoopbackHub]:
    state = LoopbackHub(tmp_path_factory.mktemp("hub"), Faults())
    async with served(create_hub(state)) as url:
        state.url = url
        yield state
