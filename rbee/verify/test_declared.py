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


def test_workers_are_as_declared(facts: Facts) -> None:
    """A sync would change no worker that runs, and could do all that is declared"""
    pool = _pool(facts)
    if pool["draining"]:
        does_not_apply("the pool drains: what is declared is started when it takes work again")
    outcome, refusal = facts["sync"]
    if refusal == "HTTP 404":
        does_not_apply("the pool is of a version that cannot sync")
    require(refusal or "nothing to do", "nothing to do", holds=not refusal, mend=SYNC)
    here = {each["id"] for each in pool["workers"] if each["state"] not in ("failed", "stopped")}  # else named above
    left = {each["id"]: _left(each) for each in outcome["steps"] if each["id"] in here and each["action"] != "fetch"}
    left = {worker: why for worker, why in left.items() if why}
    require(left or "nothing to do", "nothing to do", mend=SYNC, nixos=DECLARED_WORKERS)


def _left(step: dict[str, Any]) -> str:
    """Return what a sync would do, or why it cannot; empty where it leaves the worker be."""
    if step["state"] == "failed":
        return str(step["error"]["message"])
    return f"{step['action']}: {step['why']}" if step["state"] == "planned" else ""


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
