"""A host that lacks a model takes it from a pool that has it, over the LAN, before anybody asks the hub."""

import pytest

from tests.assets import tiny_gguf
from tests.fleet.house import House
from tests.fleet.llama import REFERENCE, give_llama
from tests.rig.waiting import PATIENCE, wait_for
from tests.systemd.lab import MODELS

FLIP = """
import sys
f = open(sys.argv[1], "r+b")
f.seek(-100, 2)
byte = f.read(1)[0]
f.seek(-1, 1)
f.write(bytes([byte ^ 1]))
"""
NO_HUB = "[Service]\nEnvironment=HF_ENDPOINT=http://127.0.0.1:9\n"


@pytest.fixture(scope="module")
def fleet(house: House) -> House:
    """A fleet in which workstation alone has acme's llama, as if from the hub; the hub itself is not there."""
    house.rbee("orchestrator", "listen", "8080")
    for name in ("workstation", "mac"):
        host = house.hosts[name]
        host.write("/etc/systemd/system/rbee-pool.service.d/hub.conf", NO_HUB)
        host.run(["systemctl", "daemon-reload"])
        house.rbee("pool", "register", name)
    give_llama(house)
    workstation = house.hosts["workstation"]
    assert "llama" in workstation.run(["rbee-hive", "models", "list"]).stdout
    return house


def forget(house: House) -> None:
    house.rbee("pool", "models", "delete", "llama", "--yes", "--host", "mac", check=False)


def test_it_comes_from_the_neighbour_and_is_the_same(fleet: House) -> None:
    done = fleet.rbee("pool", "models", "download", REFERENCE, "--host", "mac")
    assert "llama" in done.stdout
    assert "copying" in done.stderr
    [mac], [workstation] = (
        fleet.rbee_json("pool", "models", "info", "llama", *fleet.on(n)) for n in ("mac", "workstation")
    )
    assert mac["result"]["sha256"] == workstation["result"]["sha256"] != ""
    assert mac["result"]["revision"] == "c0ffee"
    assert fleet.rbee("pool", "models", "verify", "llama", "--host", "mac").returncode == 0
    assert "model.copied" in fleet.hosts["mac"].journal("-u", "rbee-pool")
    forget(fleet)


def test_a_cut_copy_goes_on_where_it_was(fleet: House) -> None:
    mac, workstation = fleet.hosts["mac"], fleet.hosts["workstation"]
    partial = f"{MODELS}/llama/llama.gguf.partial"
    throttle = [
        "tc",
        "qdisc",
        "add",
        "dev",
        "host0",
        "root",
        "tbf",
        "rate",
        "4mbit",
        "burst",
        "32kb",
        "latency",
        "400ms",
    ]
    workstation.run(throttle)
    with fleet.begin("pool", "models", "download", REFERENCE, "--host", "mac") as download:
        wait_for(lambda: _size(fleet, partial) > 2 << 20, "some of it to be there", 30)
        mac.run(["systemctl", "kill", "--signal=KILL", "rbee-pool.service"])
        assert download.wait(60 * PATIENCE) != 0
    had = _size(fleet, partial)
    assert had > 0
    workstation.run(["tc", "qdisc", "del", "dev", "host0", "root"])
    fleet.rbee("pool", "models", "download", REFERENCE, "--host", "mac")
    assert f"offset_bytes={had}" in mac.journal("-u", "rbee-pool", "--grep=download.resumed")
    assert fleet.rbee("pool", "models", "verify", "llama", "--host", "mac").returncode == 0
    forget(fleet)


def test_a_neighbour_with_damaged_bytes_is_not_believed(fleet: House) -> None:
    workstation = fleet.hosts["workstation"]
    path = f"{MODELS}/llama/llama.gguf"
    stamp = ["touch", "--reference", path, "/run/stamp"]
    workstation.run(stamp)
    workstation.run(["python3", "-c", FLIP, path])
    workstation.run(["touch", "--reference", "/run/stamp", path])  # so that only its bytes tell
    done = fleet.rbee("pool", "models", "download", REFERENCE, "--host", "mac", check=False)
    workstation.run(["python3", "-c", FLIP, path])
    workstation.run(["touch", "--reference", "/run/stamp", path])
    assert done.returncode == 69
    assert "http://127.0.0.1:9 did not" in done.stderr, "the hub was asked next, which is not there"
    assert "model.not_copied" in fleet.hosts["mac"].journal("-u", "rbee-pool")
    assert "acme" not in fleet.rbee("pool", "models", "list", "--host", "mac").stdout


@pytest.mark.parametrize("name", ["ours.gguf", "Öurs, the (2nd) best.gguf"])
def test_a_model_that_was_imported_there_is_copied_by_its_name(fleet: House, name: str) -> None:
    workstation, file = fleet.hosts["workstation"], f"{MODELS}/{name}"
    tiny_gguf(workstation.root / file.lstrip("/"), seed=7)
    workstation.run(["rbee-hive", "models", "import", file, "--id", "ours"])
    done = fleet.rbee("pool", "models", "download", "ours", "--host", "mac")
    assert "copying" in done.stderr
    assert fleet.rbee("pool", "models", "verify", "ours", "--host", "mac").returncode == 0
    fleet.rbee("pool", "models", "delete", "ours", "--yes", "--host", "mac", "--host", "workstation")


def test_nobody_copies_without_the_token(fleet: House) -> None:
    said = fleet.blep.run(["curl", "-s", "http://workstation:9200/v2/models/llama/parts/0"]).stdout
    assert '"code":"unauthorized"' in said


@pytest.mark.parametrize("number", ["1", "x", "%C2%B2", "-1", "9" * 5000])
def test_a_part_that_is_none_is_not_found(fleet: House, number: str) -> None:
    token = fleet.blep.read("/etc/rbee/token").strip()
    asked = ["curl", "-s", "-H", f"Authorization: Bearer {token}"]
    said = fleet.blep.run([*asked, f"http://workstation:9200/v2/models/llama/parts/{number}"]).stdout
    assert '"code":"not_found"' in said


def _size(house: House, path: str) -> int:
    done = house.hosts["mac"].run(["stat", "-c", "%s", path], check=False)
    return int(done.stdout) if done.returncode == 0 else 0
