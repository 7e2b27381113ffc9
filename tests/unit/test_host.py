import dataclasses
from pathlib import Path

import pytest

from rbee import config, host
from rbee.errors import ConfigInvalid


@pytest.mark.parametrize(
    ("url", "expected"),
    [("http://127.0.0.1:9200", "127.0.0.1"), ("http://[::1]:9200", "::1"), ("http://localhost:1", None)],
)
def test_workers_listen_where_the_pool_is_reached(url: str, expected: str | None) -> None:
    assert host.worker_host(url) in ({expected} if expected else {"127.0.0.1", "::1"})


@pytest.mark.parametrize("url", ["http://0.0.0.0:9200", "http://[::]:9200", "http://no-such-host.invalid:9200"])
def test_an_address_nobody_reaches_is_refused(url: str) -> None:
    with pytest.raises(ConfigInvalid):
        host.worker_host(url)


def test_a_pool_on_every_address_wants_to_know_its_url() -> None:
    settings = config.Settings()
    with pytest.raises(ConfigInvalid, match="every address"):
        host.pool_facts(settings, "http://0.0.0.0:9200")
    reached = dataclasses.replace(settings, pool=dataclasses.replace(settings.pool, url="http://127.0.0.1:9200"))
    assert host.pool_facts(reached, "http://0.0.0.0:9200").worker_host == "127.0.0.1"


def test_the_instance_is_steady_and_not_the_machine_id(tmp_path: Path) -> None:
    file = tmp_path / "machine-id"
    file.write_text("0123456789abcdef0123456789abcdef\n")
    assert host.instance_id(file) == host.instance_id(file)
    assert host.instance_id(file) != file.read_text().strip()
    assert len(host.instance_id(tmp_path / "none")) == 32
