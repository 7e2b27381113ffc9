"""Whether the kernel will hold workers to their limits."""

from rbee.verify.facts import Facts
from rbee.verify.options import BOOT, UNIFIED
from rbee.verify.survey import PROBE
from rbee.verify.unmet import does_not_apply, require


def test_hierarchy_is_mounted(facts: Facts) -> None:
    """Control groups are mounted: unified, hybrid or legacy"""
    mode = facts["cgroups"]["mode"]
    require(mode, "unified, hybrid or legacy", holds=mode in ("unified", "hybrid", "legacy"), mend=BOOT, nixos=UNIFIED)


def test_controllers_are_there(facts: Facts) -> None:
    """The kernel offers the controllers memory, pids and cpu"""
    missing = sorted({"memory", "pids", "cpu"} - set(facts["cgroups"]["controllers"]))
    require(f"without {', '.join(missing)}" if missing else "all", "all", mend=BOOT, nixos=UNIFIED)


def test_memory_limits_hold(facts: Facts) -> None:
    """A process in rbee-workers.slice is really held to MemoryMax="""
    _holds(facts, "memory", f"{PROBE['memory']} bytes")


def test_task_limits_hold(facts: Facts) -> None:
    """A process in rbee-workers.slice is really held to TasksMax="""
    _holds(facts, "pids", f"{PROBE['pids']} tasks")


def test_cpu_limits_hold(facts: Facts) -> None:
    """A process in rbee-workers.slice is really held to CPUQuota="""
    _holds(facts, "cpu", f"{PROBE['cpu']} of a CPU")


def _holds(facts: Facts, controller: str, expected: str) -> None:
    facts.system_mode_only()
    facts.root_only()
    if controller not in facts["cgroups"]["controllers"]:
        does_not_apply(f"there is no controller {controller}: see cgroups.controllers_are_there")
    found = facts["limits"]
    if found["error"]:
        require(
            found["error"], "a unit in rbee-workers.slice", mend="systemctl start rbee-workers.slice", nixos=UNIFIED
        )
    shown = (
        "no limit" if found[controller] is None else expected.replace(str(PROBE[controller]), str(found[controller]))
    )
    require(shown, expected, holds=found[controller] == PROBE[controller], mend=BOOT, nixos=UNIFIED)
