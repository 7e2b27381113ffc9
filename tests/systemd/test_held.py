"""Models held in memory: a unit of systemd's that outlives whoever asked for it."""

import re
import resource

import pytest

from tests.systemd.lab import MODELS, Lab

UNIT = "rbee-model-tiny.service"


def locked_bytes(lab: Lab) -> int:
    status = lab.host.read(f"/proc/{lab.pid(UNIT)}/status")
    found = re.search(r"VmLck:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


@pytest.mark.parametrize("way", ["--direct", "--http"])
def test_it_is_held_locked_shown_and_let_go(shared: Lab, way: str) -> None:
    assert "held" in shared.hive("models", "cache", "tiny", way).stdout
    size = (shared.host.root / MODELS.lstrip("/") / "tiny.gguf").stat().st_size
    page = resource.getpagesize()
    assert locked_bytes(shared) == -(-size // page) * page
    assert "tiny (held in memory)" in shared.hive("status").stdout
    assert shared.show(UNIT, "StatusText") == f"holding {size} bytes"
    assert shared.show(UNIT, "Slice") == "rbee-workers.slice"
    assert int(shared.show(UNIT, "MemoryMax")) == size + (128 << 20)
    assert shared.host.read(f"/proc/{shared.pid(UNIT)}/status").count("CapEff:\t0000000000000000") == 1

    before = shared.pid(UNIT)
    shared.systemctl("restart", "rbee-pool.service")
    shared.systemctl("daemon-reload")
    assert "held" in shared.hive("models", "cache", "tiny", way).stdout
    assert shared.pid(UNIT) == before

    code, error = shared.refused("rbee-hive", "models", "delete", "tiny", "--yes")
    assert (code, error["code"], error["hint"]) == (73, "conflict", "rbee-hive models uncache tiny")
    shared.hive("models", "uncache", "tiny", way)
    assert UNIT not in shared.units("rbee-model-*")
    code, error = shared.refused("rbee-hive", "models", "uncache", "tiny")
    assert (code, error["code"]) == (66, "not_found")


def test_the_queen_hears_of_it(shared: Lab) -> None:
    shared.hive("models", "cache", "tiny", "--http")
    state = shared.hive_json("status")
    assert [model["id"] for model in state["models"] if model["cached"]] == ["tiny"]
    shared.hive("models", "uncache", "tiny")
