"""Downloads by the sandboxed daemon of a real host, with the real hub client, from a hub on the host's loopback."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rig.host import Host
from tests.rig.waiting import PATIENCE, wait_for
from tests.systemd.hub_host import SLOW, HubHost, serving_hub
from tests.systemd.lab import MODELS


@pytest.fixture(scope="module")
def serving(module_host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubHost]:
    with serving_hub(module_host, tmp_path_factory.mktemp("hub")) as made:
        yield made


@pytest.fixture
def hub(serving: HubHost) -> Iterator[HubHost]:
    """``serving`` with a hub that does nothing wrong and a host that has no model of it."""
    serving.faults()
    yield serving
    serving.faults()
    for worker in serving.hive_json("worker", "list"):
        serving.hive("worker", "stop", worker["id"], "--yes")
    for model in serving.downloaded():
        serving.hive("models", "delete", model, "--yes")
    serving.host.run(["sh", "-c", f"rm -f {MODELS}/*/*.partial*"])


def test_a_download_is_checked_listed_and_answers(hub: HubHost) -> None:
    model = hub.hive_json("models", "download", "hf:acme/tiny")
    assert (model["sha256"], model["size_bytes"]) == (hub.sha256, hub.size_bytes)
    assert hub.hive_json("models", "verify", model["id"])["ok"]
    assert [path for path in hub.model_files() if "partial" in path] == []
    answer = hub.rbee_json("jobs", "submit", "--model", model["id"], "--prompt", "abc", "--max-tokens", "3")
    assert answer["state"] == "completed"


def test_a_killed_daemon_goes_on_where_it_was(hub: HubHost) -> None:
    hub.faults(rate_bytes_per_s=SLOW // 4)
    with hub.downloading() as download:
        wait_for(lambda: hub.partial_bytes() >= 1 << 20, "a mebibyte on disk")
        hub.systemctl("kill", "--kill-whom=main", "--signal=KILL", "rbee-pool.service")
        _, said = download.communicate(timeout=30 * PATIENCE)
    assert download.returncode != 0, said
    had = hub.partial_bytes()
    before = len(hub.ranges())
    hub.faults()
    assert hub.hive_json("models", "download", "hf:acme/tiny")["sha256"] == hub.sha256
    assert hub.ranges()[before:] == [f"bytes={had}-"]


def test_two_at_once_are_one(hub: HubHost) -> None:
    hub.faults(rate_bytes_per_s=SLOW)
    before = len(hub.ranges())
    with hub.downloading() as first, hub.host.popen(["rbee-hive", "models", "download", "hf:acme/tiny"]) as second:
        said = [process.communicate(timeout=60 * PATIENCE)[1] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), said
    assert len(hub.ranges()) == before + 1


def test_who_interrupts_leaves_a_beginning_and_no_model(hub: HubHost) -> None:
    hub.faults(rate_bytes_per_s=SLOW // 4)
    with hub.downloading() as download:
        download.send_signal(signal.SIGINT)
        download.communicate(timeout=30 * PATIENCE)
    assert download.returncode == 130
    assert hub.downloaded() == []
    hub.faults()
    assert hub.hive_json("models", "download", "hf:acme/tiny")["sha256"] == hub.sha256


@pytest.mark.parametrize(
    ("faults", "status", "code", "says"),
    [
        ({"lie_about_sha256": True}, 69, "checksum_mismatch", "sha256"),
        ({"gated": True}, 77, "not_permitted", "HF_TOKEN"),
        ({"token": "secret"}, 77, "unauthorized", "HF_TOKEN"),
        ({"file_status": 503}, 69, "download_failed", "503"),
        ({"portal": True}, 69, "download_failed", "hub"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_each_fault_of_the_hub_is_said_and_leaves_no_model(
    hub: HubHost, faults: dict[str, Any], status: int, code: str, says: str
) -> None:
    hub.faults(**faults)
    found, error = hub.refused("rbee-hive", "models", "download", "hf:acme/tiny")
    assert (found, error["code"]) == (status, code)
    assert says in f"{error['message']} {error['hint']}"
    assert hub.downloaded() == []


def test_what_the_hub_does_not_have_is_not_found(hub: HubHost) -> None:
    for reference in ("hf:acme/nothing", "hf:acme/tiny::file=other.gguf"):
        status, error = hub.refused("rbee-hive", "models", "download", reference)
        assert (status, error["code"]) == (66, "model_not_found"), reference


@pytest.fixture
def small_disk(hub: HubHost) -> Iterator[int]:
    """Let the models lie on a disk of one mebibyte; return its size."""
    owner = Path(hub.host.root, MODELS.lstrip("/")).stat()
    hub.systemctl("stop", "rbee-pool.service")
    options = f"size=1M,mode=755,uid={owner.st_uid},gid={owner.st_gid}"
    hub.host.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", MODELS])
    yield 1 << 20
    hub.systemctl("stop", "rbee-pool.service")
    hub.host.run(["umount", MODELS])


def test_a_disk_too_small_is_said_before_the_first_byte(hub: HubHost, small_disk: int) -> None:
    before = len(hub.ranges())
    status, error = hub.refused("rbee-hive", "models", "download", "hf:acme/tiny")
    assert (status, error["code"]) == (73, "insufficient_disk")
    assert error["details"]["needed_bytes"] == hub.size_bytes
    assert 0 < error["details"]["free_bytes"] <= small_disk
    assert len(hub.ranges()) == before
    assert hub.model_files() == []
