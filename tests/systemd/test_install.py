"""``make uninstall`` on a host that is at work. What ``make install`` puts there every other test stands on."""

import shutil
from pathlib import Path

from tests.rig.stage import CHECKOUT
from tests.systemd.lab import MODELS, Lab

SOURCES = ("tools", "units", "etc", "docs", "Makefile", "setup.cfg")
TAKEN_AWAY = ("/usr/local", "/etc/systemd", "/run/systemd/transient")
KEPT = {"/etc/rbee/rbee.toml", "/etc/rbee/token", f"{MODELS}/tiny.gguf"}


def test_uninstall_stops_all_and_keeps_what_is_its_owners(lab: Lab) -> None:
    lab.give_tiny()
    worker = lab.spawn("tiny")["id"]
    lab.host.write("/etc/rbee/rbee.toml", "# mine\n")
    checkout = _checkout_on(lab)
    said = lab.host.run(["make", "--no-print-directory", "-C", checkout, "uninstall"]).stderr
    assert "kept, since it is yours: /etc/rbee, /var/lib/rbee" in said
    assert lab.units("rbee*") == set()
    assert not lab.pid(f"rbee-{worker}.service")
    assert _named_rbee(lab, *TAKEN_AWAY) == set()
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
