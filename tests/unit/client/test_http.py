"""What every answer has in common, against a real application."""

import pytest
from prometheus_client import CollectorRegistry

from rbee.client import endpoint as module
from rbee.client.http import HttpClient
from rbee.daemon.access import Access
from rbee.daemon.app import create_app
from rbee.errors import NotFound, VersionMismatch
from tests.support.serving import served


def app() -> object:
    return create_app(
        "pool-managerd",
        source="pool:mac",
        access=Access(callers={}),
        metrics=CollectorRegistry(),
        body_limit_bytes=1 << 20,
        connections=64,
    )


async def test_another_version_is_named_with_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "__version__", "9.9.9")
    async with served(app()) as url, HttpClient(url, source="pool mac", same_version=True) as http:  # type: ignore[arg-type]
        with pytest.raises(VersionMismatch, match=r"pool mac at .* is rbee 0\.\S+, this command is 9\.9\.9"):
            await http.call("GET", "/health")
        with pytest.raises(VersionMismatch):
            await http.call("GET", "/nowhere")


async def test_daemons_read_each_other_whatever_their_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "__version__", "9.9.9")
    async with served(app()) as url, HttpClient(url, source="pool mac") as http:  # type: ignore[arg-type]
        assert await http.call("GET", "/health")
        with pytest.raises(NotFound):
            await http.call("GET", "/nowhere")
