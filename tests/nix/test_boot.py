"""The units of the example house's blep, booted: its packages, its drop-ins, its configuration, and real tokens."""

import json
from typing import Any

import pytest

from rbee import __version__
from rbee.verify.facts import command
from rbee.wire.events import End
from rbee.wire.jobs import JobSpec
from tests.nix import nixos_host
from tests.nix.standin import Flake
from tests.rig.plugin import Hosts
from tests.systemd.lab import Lab
from tests.systemd.story import Story

pytestmark = pytest.mark.bare_host

WORKER = "rbee-worker-small.service"
DAEMONS = ("rbee-queen.service", "rbee-pool.service")
LONG = JobSpec(model="smollm2", prompt="Once", max_tokens=300, temperature=0, seed=1, ignore_eos=True)


class NixosLab(Lab):
    """A host whose token is a secret of its own, and not made by rbee."""

    token = nixos_host.TOKEN


@pytest.fixture(scope="module")
def toplevel(house: Flake) -> Any:
    return house.toplevel("blep")


@pytest.fixture(scope="module")
def blep(toplevel: Any, module_hosts: Hosts) -> Lab:
    """The host, up, with the worker that its configuration declares. Built first: its store is this machine's."""
    host = module_hosts("blep")["blep"]
    nixos_host.become(host, toplevel)
    lab = NixosLab(host)
    lab.wait_active(WORKER, timeout_s=60)
    return lab


def test_all_of_it_runs_out_of_the_store(blep: Lab) -> None:
    for unit in (*DAEMONS, WORKER):
        command = blep.host.run(["cat", f"/proc/{blep.pid(unit)}/cmdline"]).stdout.split("\0")
        assert any(word.startswith(("/nix/store/", nixos_host.SYSTEM)) for word in command), command
        assert "/dist-packages/" not in blep.host.run(["cat", f"/proc/{blep.pid(unit)}/maps"]).stdout
    assert blep.systemctl("--failed", "--plain", "--no-legend").stdout == ""
    assert blep.show("rbee-workers.slice", "MemoryMax") == str(2 << 30)
    assert blep.show("rbee-queen.service", "DropInPaths").endswith("/rbee-queen.service.d/overrides.conf")


def test_a_job_gets_its_tokens(blep: Lab) -> None:
    said = blep.rbee_json("jobs", "submit", "--model", "smollm2", "--prompt", "What is a llama?", "--max-tokens", "8")
    assert said["state"] == "completed"
    assert said["worker"] == "small"


def test_a_restart_of_both_daemons_loses_no_worker_and_no_token(blep: Lab) -> None:
    before = {unit: blep.pid(unit) for unit in (*DAEMONS, WORKER)}
    with Story(blep, LONG) as story:
        story.wait_for_tokens(5)
        blep.systemctl("restart", *DAEMONS)
        assert isinstance(story.finish(), End)
    numbers = [number for number, _ in story.seen]
    assert numbers == list(range(1, len(numbers) + 1))
    after = {unit: blep.pid(unit) for unit in before}
    assert {unit for unit in before if after[unit] != before[unit]} == set(DAEMONS)


def test_a_reload_finds_the_programs_it_calls(blep: Lab) -> None:
    """NixOS has no /usr/bin/install and no /bin/kill."""
    blep.systemctl("reload", *DAEMONS)
    for unit in DAEMONS:
        assert "status=0/SUCCESS" in blep.systemctl("status", "--no-pager", unit).stdout
        assert blep.show(unit, "ActiveState") == "active"


def test_verify_gets_an_answer_from_behind_the_wrappers(blep: Lab) -> None:
    asked = json.loads(blep.host.run(["sh", "-c", command()]).stdout)
    assert asked["settings"]["error"] == ""
    assert asked["settings"]["version"] == __version__
    assert asked["executable"].startswith("/")


def test_a_worker_is_spawned_and_stopped_by_hand(blep: Lab) -> None:
    worker = blep.hive_json("worker", "spawn", "cpu", "--model", "smollm2", "--id", "extra")
    assert worker["state"] == "ready"
    blep.hive("worker", "stop", "extra", "--yes")
    assert blep.units("rbee-worker-extra*") == set()
