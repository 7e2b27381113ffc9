"""What the running processes may do: asked of the kernel, not of the unit files."""

from collections.abc import Mapping
from typing import Any

from rbee.verify.facts import Facts
from rbee.verify.options import BOOT, POOL, UNIFIED
from rbee.verify.unmet import does_not_apply, require

NO_CAPABILITIES = "0000000000000000"
FILTERED = "2"  # seccomp(2): SECCOMP_MODE_FILTER


def test_daemons_gain_no_privileges(facts: Facts) -> None:
    """No daemon can gain privileges by running a set-uid program"""
    _all(facts, facts.daemons(), "no_new_privs", "1")


def test_daemons_have_no_capabilities(facts: Facts) -> None:
    """No daemon holds a capability, the broker neither"""
    facts.system_mode_only()
    _all(facts, facts.daemons(), "capabilities", NO_CAPABILITIES)


def test_daemons_system_calls_are_filtered(facts: Facts) -> None:
    """Every daemon runs under a filter of system calls"""
    _all(facts, facts.daemons(), "seccomp", FILTERED)


def test_daemons_have_their_own_mounts(facts: Facts) -> None:
    """Every daemon sees a file system of its own making"""
    facts.system_mode_only()
    _own_mounts(facts, facts.daemons())


def test_daemons_do_not_see_homes(facts: Facts) -> None:
    """No daemon can look into /home"""
    facts.system_mode_only()
    _no_homes(facts, facts.daemons())


def test_workers_are_confined(facts: Facts) -> None:
    """Every worker: no new privileges, no capabilities, filtered system calls, not root"""
    running = facts.workers()
    expected = {"no_new_privs": "1", "seccomp": FILTERED}
    if facts["mode"] == "system":
        expected["capabilities"] = NO_CAPABILITIES
    wrong = {
        f"{name} {key}": process[key]
        for name, process in running.items()
        for key, value in expected.items()
        if process[key] != value
    }
    wrong |= {f"{name} uid": 0 for name, process in running.items() if process["uid"] == 0}
    require(wrong or "confined", "confined", mend=_anew(wrong), nixos=POOL)


def test_workers_see_neither_mounts_nor_homes(facts: Facts) -> None:
    """Every worker sees a file system of its own making, without /home"""
    facts.system_mode_only()
    running = facts.workers()
    facts.root_only()
    wrong = {
        name: "sees /home" if process["home_seen"] else "has the machine's mounts"
        for name, process in running.items()
        if process["home_seen"] or process["mounts"] == facts["init_mounts"]
    }
    require(wrong or "neither", "neither", mend=_anew(wrong), nixos=POOL)


def test_workers_have_memory_limits(facts: Facts) -> None:
    """The kernel holds every worker to the memory it was planned with"""
    running = facts.workers()
    off = [name for name in running if not facts["worker_limits"][name]]
    # A user's manager has what the system's gives it: the memory controller only in the unified hierarchy.
    mend, nixos = (_anew(off), POOL) if facts["mode"] == "system" else (BOOT, UNIFIED)
    require(dict.fromkeys(off, "no limit") or "all limited", "all limited", mend=mend, nixos=nixos)


def _all(facts: Facts, running: Mapping[str, Mapping[str, Any]], key: str, expected: str) -> None:
    wrong = {name: process[key] for name, process in running.items() if process[key] != expected}
    require(wrong or expected, expected, mend=_undo(facts, wrong), nixos=POOL)


def _own_mounts(facts: Facts, running: Mapping[str, Mapping[str, Any]]) -> None:
    facts.root_only()
    wrong = [name for name, process in running.items() if process["mounts"] == facts["init_mounts"]]
    require(wrong or "their own", "their own", mend=_undo(facts, wrong), nixos=POOL)


def _no_homes(facts: Facts, running: Mapping[str, Mapping[str, Any]]) -> None:
    facts.root_only()
    if all(process["home_seen"] is None for process in running.values()):
        does_not_apply("there is no /home on this host")
    wrong = [name for name, process in running.items() if process["home_seen"]]
    require(dict.fromkeys(wrong, "sees /home") or "hidden", "hidden", mend=_undo(facts, wrong), nixos=POOL)


def _undo(facts: Facts, names: Any) -> str:
    """Return what takes drop-ins away and starts the daemons as they are shipped."""
    those = " ".join(names)
    return f"{facts.systemctl} revert {those}; {facts.systemctl} restart {those}"


def _anew(names: Any) -> str:
    """Return what ends these workers; the next request starts them as they should be."""
    workers = sorted({name.split()[0].removeprefix("rbee-").removesuffix(".service") for name in names})
    return "; ".join(f"rbee-hive worker stop {worker} --yes" for worker in workers)
