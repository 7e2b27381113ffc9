"""One version everywhere."""

from rbee.verify.facts import POOL, Facts
from rbee.verify.options import PACKAGE
from rbee.verify.unmet import does_not_apply, require
from rbee.verify.wanted import Wanted


def test_installed_version_is_ours(facts: Facts, wanted: Wanted) -> None:
    """The rbee installed there is the one that looks at it"""
    version = facts["settings"]["version"]
    if not version:
        does_not_apply("there is no rbee: see system.rbee_has_its_python")
    require(version, wanted.version, mend="make install", nixos=PACKAGE)


def test_pool_runs_what_is_installed(facts: Facts) -> None:
    """The running pool-managerd is the installed one"""
    facts.needs_socket(POOL)
    pool = facts["pool"]
    if pool["error"]:
        does_not_apply("the pool does not answer: see network.pool_answers")
    running = pool["health"].get("version", "unknown")
    mend = f"{facts.systemctl} restart rbee-pool.service"
    require(running, facts["settings"]["version"], mend=mend, nixos=PACKAGE)


def test_queen_is_of_the_same_version(facts: Facts) -> None:
    """The queen is of the version that is installed here"""
    queen = facts["queen"]
    if queen["error"]:
        does_not_apply("the queen does not answer: see queen.host_reaches_queen")
    mend = "rbee-keeper orchestrator restart"
    require(queen["health"].get("version", "unknown"), facts["settings"]["version"], mend=mend, nixos=PACKAGE)
