"""Models that rbee.toml declares by their path, outside of all roots: served, and nothing that lies beside them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.assets import tiny_gguf
from tests.rig.host import Host
from tests.rig.waiting import wait_for
from tests.systemd.lab import Lab
from tests.systemd.test_privileges import PLAN, speak

STORE = "/srv/store"
TOML = f"""
[models.chat]
path = "{STORE}/hash0-chat.gguf"
ctx = 256
slots = 2
priority = -5
idle_s = 60

[models.split]
path = "{STORE}/farm/split-00001-of-00003.gguf"
"""


@pytest.fixture(scope="module")
def store(module_host: Host) -> Lab:
    """A host with files in a folder as Nix's store is one, of which rbee.toml names two."""
    folder = module_host.root / STORE.lstrip("/")
    (folder / "farm").mkdir(parents=True)
    tiny_gguf(folder / "hash0-chat.gguf")
    tiny_gguf(folder / "beside.gguf", seed=1)
    for number, part in enumerate(_parts(folder / "farm")):
        moved = shutil.move(part, folder / f"hash{number}-{part.name}")
        (folder / "farm" / part.name).symlink_to(f"{STORE}/{Path(moved).name}")
    module_host.write("/etc/rbee/rbee.toml", TOML)
    return Lab(module_host)


def _parts(folder: Path) -> list[Path]:
    tiny_gguf(folder / "split.gguf", seed=2, tensors_a_part=8)
    return sorted(folder.iterdir())


def test_they_are_there_without_being_imported(store: Lab) -> None:
    listed = {model["id"]: model for model in store.hive_json("models", "list")}
    assert listed["chat"]["paths"] == [f"{STORE}/hash0-chat.gguf"]
    assert listed["split"]["paths"] == [f"{STORE}/hash{n}-split-0000{n + 1}-of-00003.gguf" for n in range(3)]
    assert "beside" not in listed
    assert store.hive_json("models", "verify", "split")["ok"]
    code, error = store.refused("rbee-hive", "models", "delete", "chat", "--yes")
    assert (code, error["code"]) == (73, "conflict")
    assert "declared in rbee.toml" in error["message"]


@pytest.mark.parametrize("way", ["--http", "--direct"])
def test_a_worker_is_made_as_the_model_is_set_unless_told_otherwise(store: Lab, way: str) -> None:
    worker = store.spawn("chat", way)
    assert (worker["ctx"], worker["slots"], worker["priority"], worker["idle_s"]) == (256, 2, -5, 60)
    store.hive("worker", "stop", worker["id"], "--yes", way)
    told = store.spawn("chat", way, "--ctx=128", "--priority=7")
    assert (told["ctx"], told["slots"], told["priority"]) == (128, 2, 7)
    assert "priority +7" in " ".join(store.hive("worker", "status", told["id"], way).stdout.split())
    store.hive("worker", "stop", told["id"], "--yes", way)


@pytest.mark.parametrize("model", ["chat", "split"])
def test_it_answers_through_the_broker_and_as_nobody_in_particular(store: Lab, model: str) -> None:
    done = store.rbee_json("jobs", "submit", "--model", model, "--prompt", "hello", "--max-tokens", "8", "--ignore-eos")
    assert done["tokens_out"] == 8
    [worker] = [each for each in store.hive_json("worker", "list") if each["model"] == model]
    owners = store.host.run(["ps", "-o", "user:32=", "-p", str(store.pid(worker["unit"]))]).stdout.split()
    assert owners[0] not in ("root", "rbee")

    def explained() -> str:
        """Return what she says of it once she has heard that it has nothing to do any more."""
        said = {each["worker"]: each["sentence"] for each in store.rbee_json("workers", "explain")}
        return "" if "has work" in said.get(worker["id"], "has work") else said[worker["id"]]

    sentence = wait_for(explained, "the queen to hear of it")
    assert ("before those of higher priority than -5" in sentence) is (model == "chat")
    store.hive("worker", "stop", worker["id"], "--yes")


def test_the_file_beside_it_is_for_nobody(store: Lab) -> None:
    beside = f"{STORE}/beside.gguf"
    for way in ("--http", "--direct"):
        code, error = store.refused("rbee-hive", "worker", "spawn", "cpu", "--model", beside, way)
        assert (code, error["code"]) == (77, "not_permitted"), error
        code, error = store.refused("rbee-hive", "models", "import", beside, way)
        assert (code, error["code"]) == (77, "not_permitted"), error
    assert said(store, model_paths=[beside]) == "not_permitted"
    assert said(store, model_paths=[f"{STORE}/farm/../beside.gguf"]) == "not_permitted"
    assert store.units("rbee-worker-*") == set()


def test_user_rbee_cannot_make_a_declared_name_mean_another_file(store: Lab) -> None:
    """One that lies in the pool's own folder, which is his."""
    own = "/var/lib/rbee/other/mine.gguf"
    store.host.write("/etc/rbee/rbee.toml", f'{TOML}\n[models.mine]\npath = "{own}"\n')
    store.host.run(["install", "-d", "-o", "rbee", "/var/lib/rbee/other"])
    store.host.run(["ln", "-s", f"{STORE}/beside.gguf", own], user="rbee")
    assert said(store, model_paths=[own]) == "not_permitted"
    assert said(store, model_paths=[f"{STORE}/beside.gguf"]) == "not_permitted"
    store.host.run(["ln", "-sfn", f"{STORE}/beside.gguf", own])
    assert said(store, model_paths=[own]) == "", "root's own link is as good as the path"
    speak(store, "rbee", {"op": "stop", "id": PLAN["id"]})


def test_what_is_declared_anew_is_there_after_a_reload_and_may_be_used_at_once(store: Lab) -> None:
    """The broker has answered a moment ago, and goes on for half a minute."""
    store.host.write("/etc/rbee/rbee.toml", TOML)
    assert said(store, model_paths=[f"{STORE}/beside.gguf"]) == "not_permitted"
    broker = store.pid("rbee-broker.service")
    store.host.write("/etc/rbee/rbee.toml", f'[models.late]\npath = "{STORE}/beside.gguf"\n')
    store.systemctl("reload", "rbee-pool.service")
    wait_for(lambda: "late" in {each["id"] for each in store.hive_json("models", "list", "--http")}, "late to be there")
    worker = store.spawn("late", "--http")
    assert store.pid("rbee-broker.service") == broker
    assert store.hive_json("models", "list", "--http")[0]["id"] == "late"
    store.hive("worker", "stop", worker["id"], "--yes")
    code, error = store.refused("rbee-hive", "worker", "spawn", "cpu", "--model", "chat", "--http")
    assert (code, error["code"]) == (66, "model_not_found")


def said(store: Lab, **change: Any) -> str:
    """Return with which code the broker refuses user rbee; empty when it does not."""
    answer = json.loads(speak(store, "rbee", {"op": "start", "plan": {**PLAN, **change}})[1])
    return str(answer["error"]["code"]) if "error" in answer else ""
