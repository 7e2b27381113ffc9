"""Room for workers."""

from rbee.verify.facts import Facts
from rbee.verify.options import ZRAM
from rbee.verify.unmet import does_not_apply, require

LEAST = 0.05
MOST_SWAP = 0.8


def test_memory_is_available(facts: Facts) -> None:
    """More than 5 % of the memory is available"""
    total, free = facts["memory"]["MemTotal"], facts["memory"]["MemAvailable"]
    found = f"{free / total:.0%} of {total >> 20} MiB"
    require(
        found,
        "more than 5 %",
        holds=free / total > LEAST,
        mend="rbee-hive worker list; systemd-cgtop -m -n 1",
        nixos=ZRAM,
    )


def test_swap_is_not_full(facts: Facts) -> None:
    """Less than 80 % of the swap is in use: a model that is swapped out does not answer"""
    total = facts["memory"].get("SwapTotal", 0)
    if not total:
        does_not_apply("no swap on this host")
    used = 1 - facts["memory"]["SwapFree"] / total
    require(
        f"{used:.0%} of {total >> 20} MiB",
        "less than 80 %",
        holds=used < MOST_SWAP,
        mend="swapon --show; free -h",
        nixos=ZRAM,
    )
