"""``make install`` and ``make uninstall`` on a host that is at work."""

import shutil
import subprocess
from pathlib import Path

from rbee.wire.events import End
from rbee.wire.jobs import JobSpec
from tests.rig.stage import CHECKOUT
from tests.systemd.lab import MODELS, Lab
from tests.systemd.story import Story
from tools import cache

SOURCES = ("rbee", "tools", "units", "etc", "docs", "Makefile", "setup.cfg", "setup.py", "README.md", "LICENSE")
TAKEN_AWAY = ("/usr/local", "/etc/systemd", "/run/systemd/transient")
KEPT = {"/etc/rbee/rbee.toml", "/etc/rbee/token", f"{MODELS}/tiny.gguf"}

LONG = JobSpec(model="smollm2", prompt="Once", max_tokens=600, temperature=0, seed=1, ignore_eos=True)


def test_installing_again_under_a_job_loses_nothing(lab: Lab) -> None:
    """An upgrade: every file of every program is replaced, the daemons restart, workers go on."""
    lab.host.write("/etc/rbee/rbee.toml", "# mine\n")
    lab.spawn("smollm2", "--ctx", "1024")
    lab.spawn("smollm2", "--id", "sleepy", "--lazy")
    checkout = _checkout_on(lab)
    _cache_on(lab)
    before = {unit: lab.pid(unit) for unit in ("rbee-queen.service", "rbee-pool.service", "rbee-worker-cpu-0.service")}
    with Story(lab, LONG) as story:
        story.wait_for_tokens(5)
        lab.host.run(["make", "--no-print-directory", "-C", checkout, "install"], env={"HOME": "/root"}, timeout=120)
        assert isinstance(story.finish(), End)
    numbers = [number for number, _ in story.seen]
    assert numbers == list(range(1, len(numbers) + 1))
    assert story.tokens >= LONG.max_tokens * 0.9  # a token that is half a character comes with the next
    after = {unit: lab.pid(unit) for unit in before}
    assert {unit for unit in before if after[unit] != before[unit]} == {"rbee-queen.service", "rbee-pool.service"}
    assert lab.host.read("/etc/rbee/rbee.toml") == "# mine\n"
    answer = lab.rbee_json("jobs", "submit", "--model", "smollm2", "--prompt", "hello", "--max-tokens", "3")
    assert answer["state"] == "completed"
    lab.hive("worker", "stop", "worker-cpu-0", "--yes")
    awake = lab.rbee_json("jobs", "submit", "--model", "smollm2", "--prompt", "hello", "--max-tokens", "3")
    assert (awake["state"], awake["worker"]) == ("completed", "sleepy")


def _cache_on(lab: Lab) -> None:
    """Give the host what this machine has built and fetched: hosts have no network."""
    target = Path(lab.host.root, "root/.cache")
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "--archive", cache.directory(), target], check=True)


def test_uninstall_stops_all_and_keeps_what_is_its_owners(lab: Lab) -> None:
    lab.give_tiny()
    worker = lab.spawn("tiny")["id"]
    sleepy = lab.spawn(lab.give_tiny("sleepy"), "--keep", "--idle", "2")["id"]
    lab.rbee("jobs", "submit", "--model", "sleepy", "--raw", "--prompt", "abc " * 40)
    lab.wait_active(f"rbee-{sleepy}.service", "inactive")
    assert lab.host.run(["ls", f"/var/cache/private/rbee-{sleepy}"]).stdout != "", "there is nothing to take away"
    lab.host.write("/etc/rbee/rbee.toml", "# mine\n")
    checkout = _checkout_on(lab)
    said = lab.host.run(["make", "--no-print-directory", "-C", checkout, "uninstall"]).stderr
    assert "kept, since it is yours: /etc/rbee, /var/lib/rbee" in said
    assert lab.units("rbee*") == set()
    assert not lab.pid(f"rbee-{worker}.service")
    assert _named_rbee(lab, *TAKEN_AWAY) == set()
    assert not {path for path in _named_rbee(lab, "/var/cache") if "rbee-worker" in path}, "conversations are left"
    for path in KEPT:
        assert lab.host.run(["test", "-s", path], check=False).returncode == 0, path
    assert lab.host.read("/etc/rbee/rbee.toml") == "# mine\n"
    again = lab.host.run(["make", "--no-print-directory", "-C", checkout, "uninstall"], check=False)
    assert again.returncode != 0
    assert "rbee is not installed here" in again.stderr


def _checkout_on(lab: Lab) -> str:
    """Give the host a checkout of its own, as who installed from one has; return where."""
    target = Path(lab.host.root, "opt/rbee")
    for source in SOURCES:
        if (CHECKOUT / source).is_dir():
            shutil.copytree(CHECKOUT / source, target / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(CHECKOUT / source, target)
    return "/opt/rbee"


def _named_rbee(lab: Lab, *places: str) -> set[str]:
    found = lab.host.run(["find", *places, "-iname", "*rbee*"], check=False).stdout
    return set(found.split())
