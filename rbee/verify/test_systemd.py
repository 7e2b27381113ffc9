"""rbee's units, as systemd has them."""

from rbee.verify.facts import Facts
from rbee.verify.options import PACKAGE, POOL
from rbee.verify.unmet import require

RESTARTS = 5
SHADOWS = ("/etc/systemd/", "/run/systemd/system/")


def test_units_are_loaded(facts: Facts) -> None:
    """Every unit of rbee is installed and could be read"""
    names = (*facts.units("socket", "service"), "rbee-workers.slice")
    require(facts.wrong(names, "LoadState", "loaded"), {}, mend="make install", nixos=PACKAGE)


def test_sockets_are_enabled(facts: Facts) -> None:
    """The sockets come back after a boot"""
    wrong = facts.wrong(facts.units("socket"), "UnitFileState", "enabled")
    require(wrong or "all enabled", "all enabled", mend=f"{facts.systemctl} enable {' '.join(wrong)}", nixos=POOL)


def test_units_have_not_failed(facts: Facts) -> None:
    """No unit of rbee has failed"""
    names = (*facts.units("socket", "service"), *facts["workers"])
    failed = {name: facts.unit(name).get("Result") for name in names if facts.unit(name).get("ActiveState") == "failed"}
    again = " ".join(failed)
    require(failed, {}, mend=f"{facts.systemctl} reset-failed {again}; {facts.systemctl} start {again}")


def test_units_are_as_on_disk(facts: Facts) -> None:
    """systemd has read every unit file since it was last changed"""
    stale = tuple(facts.wrong(facts.units("socket", "service"), "NeedDaemonReload", "no"))
    require(stale, (), mend=f"{facts.systemctl} daemon-reload")


def test_units_are_not_shadowed(facts: Facts) -> None:
    """The unit files in use are the installed ones; a drop-in may add to them, a copy may not hide them"""
    manager = "/etc/systemd/user/" if facts["mode"] == "user" else SHADOWS
    names = facts.units("socket", "service")
    files = {name: facts.unit(name).get("FragmentPath", "") for name in names}
    # NixOS and installations under a prefix of their own keep the real ones in /etc; a queue of both is a shadow.
    homes = {path.rpartition("/")[0] for path in files.values()}
    hidden = {name: path for name, path in files.items() if path.startswith(manager)} if len(homes) > 1 else {}
    require(
        hidden,
        {},
        mend=f"rm {' '.join(hidden.values())}; {facts.systemctl} daemon-reload",
        nixos="systemd.services.… = { };",
    )


def test_watchdogs_are_on(facts: Facts) -> None:
    """systemd restarts a daemon that hangs"""
    # One that sleeps behind its socket has none to show after a boot.
    awake = [name for name in facts.units("service") if facts.unit(name).get("ActiveState") == "active"]
    names = [name for name in awake if name != "rbee-broker.service"]
    off = [name for name in names if facts.unit(name).get("WatchdogUSec") in ("0", "infinity", "", None)]
    require(off, [], mend=f"{facts.systemctl} revert {' '.join(off)}; {facts.systemctl} restart {' '.join(off)}")


def test_daemons_do_not_restart_in_a_loop(facts: Facts) -> None:
    """No daemon and no worker has been restarted again and again"""
    names = (*facts.units("service"), *facts["workers"])
    counts = {name: int(facts.unit(name).get("NRestarts") or 0) for name in names}
    often = {name: number for name, number in counts.items() if number >= RESTARTS}
    again = " ".join(often)
    require(
        {name: f"{number} restarts" for name, number in often.items()} or "few",
        f"fewer than {RESTARTS} restarts each",
        holds=not often,
        mend=f"{facts.systemctl} restart {again}; journalctl -u {' -u '.join(often)} -n 50 --no-pager",
    )
