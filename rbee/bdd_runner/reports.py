"""How results are shown."""

import json
from collections.abc import Iterable
from typing import TextIO

from rbee.bdd_runner.scenario import FAILED, PASSED, SKIPPED, Scenario
from rbee.wire.junit import Case, Suite, document
from rbee.wire.words import counted

_MARKS = {PASSED: "ok", FAILED: "FAILED", SKIPPED: "skipped"}


class Report:
    """Writes to ``out``, as scenarios end or when all have."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def ended(self, scenario: Scenario) -> None:
        """Show one."""

    def finish(self, scenarios: Iterable[Scenario]) -> None:
        """Show all."""


class TextReport(Report):
    """A line a scenario below a line a feature, and a summary."""

    _feature = ""

    def ended(self, scenario: Scenario) -> None:
        if scenario.feature != self._feature:
            self._feature = scenario.feature
            self._out.write(f"{scenario.feature}: {scenario.title}\n")
        self._out.write(f"  {_MARKS[scenario.outcome]:7} {scenario.duration_s:5.1f} s  {scenario.name}\n")
        for line in "\n".join([scenario.error, *scenario.evidence]).splitlines() if scenario.error else ():
            self._out.write(f"                   {line}\n")
        self._out.flush()

    def finish(self, scenarios: Iterable[Scenario]) -> None:
        listed = list(scenarios)
        counts = [f"{count} {outcome}" for outcome in _MARKS if (count := _count(listed, outcome))]
        seconds = sum(scenario.duration_s for scenario in listed)
        self._out.write(f"\n{counted(len(listed), 'scenario')}: {', '.join(counts)}; {seconds:.1f} s\n")


class JsonReport(Report):
    """One document: an array of features with their scenarios."""

    def finish(self, scenarios: Iterable[Scenario]) -> None:
        features = [
            {
                "id": feature,
                "name": listed[0].title,
                "outcome": FAILED if _count(listed, FAILED) else PASSED,
                "scenarios": [scenario.plain() for scenario in listed],
            }
            for feature, listed in _by_feature(scenarios).items()
        ]
        self._out.write(json.dumps(features, ensure_ascii=False, indent=2) + "\n")


class JunitReport(Report):
    """A suite a feature, a case a scenario."""

    def finish(self, scenarios: Iterable[Scenario]) -> None:
        suites = [
            Suite(name=feature, time_s=sum(scenario.duration_s for scenario in listed), cases=[*map(_case, listed)])
            for feature, listed in _by_feature(scenarios).items()
        ]
        self._out.write(document(suites))


def _case(scenario: Scenario) -> Case:
    failed = scenario.outcome == FAILED
    return Case(
        classname=scenario.feature,
        name=scenario.name,
        time_s=scenario.duration_s,
        failure="\n".join([scenario.error, *scenario.evidence]) if failed else "",
        skipped="" if scenario.outcome == SKIPPED else None,
    )


def _by_feature(scenarios: Iterable[Scenario]) -> dict[str, list[Scenario]]:
    found: dict[str, list[Scenario]] = {}
    for scenario in scenarios:
        found.setdefault(scenario.feature, []).append(scenario)
    return found


def _count(scenarios: Iterable[Scenario], outcome: str) -> int:
    return sum(scenario.outcome == outcome for scenario in scenarios)


FORMS = {"text": TextReport, "json": JsonReport, "junit": JunitReport}
