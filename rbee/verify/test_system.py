"""The machine: Linux, systemd, Python."""

from rbee.verify.facts import Facts
from rbee.verify.options import PACKAGE
from rbee.verify.unmet import require

OLDEST_SYSTEMD = 249
OLDEST_PYTHON = (3, 11)


def test_kernel_is_linux(facts: Facts) -> None:
    """The kernel is Linux"""
    require(facts["kernel"], "Linux", mend="uname -a")


def test_systemd_is_new_enough(facts: Facts) -> None:
    """systemd is 249 or newer"""
    word = [*facts["systemd"].split(), "", ""][1]
    number = int(word) if word.isdigit() else 0
    require(
        facts["systemd"],
        f"systemd {OLDEST_SYSTEMD} or newer",
        holds=number >= OLDEST_SYSTEMD,
        mend="systemctl --version",
    )


def test_systemd_is_up(facts: Facts) -> None:
    """systemd has started the machine, and is not in maintenance or stopping"""
    require(
        facts["state"],
        "running or degraded",
        holds=facts["state"] in ("running", "degraded"),
        mend="systemctl list-jobs",
    )


def test_no_other_unit_failed(facts: Facts) -> None:
    """No unit of the machine has failed; rbee's own have a check of theirs"""
    failed = [name for name in facts["failed"] if not name.startswith("rbee-")]
    require(failed, [], mend=f"systemctl reset-failed {' '.join(failed)}")


def test_rbee_has_its_python(facts: Facts) -> None:
    """rbee-hive is there, with a Python that is new enough and can import rbee"""
    number = tuple(int(part) for part in facts["python"].split(".")[:2])
    version = facts["settings"]["version"]
    require(
        f"Python {facts['python']} at {facts['executable']}, {'rbee ' + version if version else 'without rbee'}",
        "Python 3.11 or newer that can import rbee",
        holds=number >= OLDEST_PYTHON and bool(version),
        mend="make install",
        nixos=PACKAGE,
    )


def test_rbee_settings(facts: Facts) -> None:
    """rbee can read its rbee.toml"""
    require(
        facts["settings"]["error"] or "it can",
        "it can",
        mend="pool-managerd --check-config",
        nixos="services.rbee.settings = { … };",
    )
