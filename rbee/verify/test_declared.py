"""What rbee.toml declares, against what is there."""

from typing import Any

from rbee.verify.facts import Facts
from rbee.verify.options import DECLARED_MODELS, DECLARED_WORKERS, POOL
from rbee.verify.unmet import does_not_apply, require

SYNC = "rbee-hive sync"


def test_models_are_here(facts: Facts) -> None:
    """Every model that is to be on this host is on it"""
    wanted = _declared(facts, "models")
    here = {model["id"] for model in _pool(facts)["models"]}
    missing = sorted(set(wanted) - here)
    require(missing or "all here", "all here", mend=SYNC, nixos=DECLARED_MODELS)


def test_workers_are_there(facts: Facts) -> None:
    """Every declared worker runs, or sleeps behind its socket"""
    wanted = _declared(facts, "workers")
    pool = _pool(facts)
    if pool["draining"]:
        does_not_apply("the pool drains: what is declared is started when it takes work again")
    states = {worker["id"]: worker["state"] for worker in pool["workers"]}
    wrong = {name: states.get(name, "not there") for name in wanted}
    wrong = {name: state for name, state in wrong.items() if state in ("not there", "failed", "stopped")}
    require(wrong or "all there", "all there", mend=SYNC, nixos=DECLARED_WORKERS)


def test_pool_is_up_from_the_boot_on(facts: Facts) -> None:
    """Where workers are declared the pool starts with the host, and they with it"""
    _declared(facts, "workers")
    unit = "rbee-pool.service"
    state = facts.unit(unit).get("UnitFileState", "")
    require(state, "enabled", mend=f"{facts.systemctl} enable {unit}", nixos=POOL)


def _declared(facts: Facts, kind: str) -> list[str]:
    """Return the names; the check ends when there are none."""
    names: list[str] = facts["settings"].get("declared", {}).get(kind, [])
    if not names:
        does_not_apply(f"rbee.toml declares no {kind} for this host")
    return names


def _pool(facts: Facts) -> dict[str, Any]:
    answer: dict[str, Any] | None = facts["pool"]["answer"]
    if answer is None:
        does_not_apply("the pool does not say what it has: see network.pool_answers")
    return answer
