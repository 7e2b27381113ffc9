"""One server for all tests here; each has a database of its own."""

from collections.abc import Iterator

import pytest

from tests.support.postgres import Server, server

pytest.register_assert_rewrite("tests.unit.queen.store.promises")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Server]:
    with server() as made:
        yield made


@pytest.fixture
def where(cluster: Server) -> str:
    """The URL of an empty database."""
    return cluster.create()
