"""What a unit was told comes back as it was said, to the last digit, and what systemd does not say is not known."""

from typing import Any

import pytest
from pystemd.systemd1.unit_signatures import KNOWN_UNIT_SIGNATURES

from rbee.adapters.systemd import bus  # noqa: F401  (which completes the table)
from rbee.adapters.systemd.facts import unit_facts
from rbee.pool_core import unit
from rbee.pool_core.ports import UnitFacts, UnitLimits
from tests.fakes.pool import PLACE, PLAN

NEVER = (1 << 64) - 1
STATES = {"service": "active", "service_sub": "running", "socket": "active"}
TIMES = ("CPUQuota", "TimeoutStartSec", "TimeoutStopSec", "WatchdogSec", "RestartSec", "StartLimitIntervalSec")


def facts_of(**service: Any) -> UnitFacts:
    return unit_facts(PLAN.id, (), service=service, states=STATES)


def told(name: str, value: float) -> tuple[str, int]:
    """Return the property, as systemd has it, that a directive becomes."""
    key, signature, number = KNOWN_UNIT_SIGNATURES[name.encode()](name.encode(), value)
    assert signature == b"t"
    return key.decode(), number


def test_every_share_of_the_processors_comes_back() -> None:
    shares = range(1, 2000)
    assert [facts_of(**dict([told("CPUQuota", share / 100)])).cpu_percent for share in shares] == list(shares)


def test_a_share_that_an_older_rbee_cut_off_is_the_one_it_meant() -> None:
    assert facts_of(CPUQuotaPerSecUSec=2_009_999).cpu_percent == 201


@pytest.mark.parametrize("seconds", [0.001, 0.3, 1.1, 2.01, 4.35, 33.3, 1000.007])
def test_fractions_of_seconds_come_back(seconds: float) -> None:
    stop_s = seconds + unit.STOP_MARGIN_S
    said = dict([told("TimeoutStartSec", seconds), told("TimeoutStopSec", stop_s), told("WatchdogSec", seconds)])
    expected = UnitLimits(load_timeout_s=seconds, stop_grace_s=seconds, watchdog_s=seconds)
    assert facts_of(**said).limits == expected


@pytest.mark.parametrize("name", TIMES)
def test_nothing_of_a_time_is_cut_off(name: str) -> None:
    assert told(name, 2.01)[1] == 2_010_000


def test_what_is_not_known_leaves_the_rest_known() -> None:
    said = {"TimeoutStartUSec": 300_000_000, "TimeoutStopUSec": 35_000_000, "WatchdogUSec": NEVER}
    lib = {"Environment": [b"PATH=/bin", b"LLAMA_CPP_LIB_PATH=/opt/llama"]}
    expected = UnitLimits(load_timeout_s=300, stop_grace_s=30, watchdog_s=None, llama_lib="/opt/llama")
    assert facts_of(**said, **lib).limits == expected
    nothing = UnitLimits(load_timeout_s=None, stop_grace_s=None, watchdog_s=None, llama_lib="/opt/llama")
    assert facts_of(**lib).limits == nothing


def test_what_a_unit_is_made_of_comes_back_as_the_settings_it_was_made_by() -> None:
    made = unit.service_properties(PLAN, PLACE)
    said = dict(told(key, made[key]) for key in TIMES if key in made)  # type: ignore[arg-type]
    limits = facts_of(**said).limits
    assert limits == UnitLimits(
        load_timeout_s=PLACE.load_timeout_s, stop_grace_s=PLACE.stop_grace_s, watchdog_s=PLACE.watchdog_s
    )
