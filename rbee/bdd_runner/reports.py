"""How results are shown."""

import json
import re
from collections.abc import Iterable
from typing import Any, TextIO
from xml.etree import ElementTree

from rbee.bdd_runner.scenario import FAILED, PASSED, SKIPPED, Scenario
from rbee.wire.words import counted

_NOT_XML = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")
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
        top = ElementTree.Element("testsuites")
        for feature, listed in _by_feature(scenarios).items():
            suite = ElementTree.SubElement(top, "testsuite", _suite(feature, listed))
            for scenario in listed:
                _add_case(suite, scenario)
        ElementTree.indent(top)
        self._out.write(ElementTree.tostring(top, encoding="unicode", xml_declaration=False) + "\n")


def _suite(feature: str, listed: list[Scenario]) -> dict[str, str]:
    return {
        "name": feature,
        "tests": str(len(listed)),
        "failures": str(_count(listed, FAILED)),
        "errors": "0",
        "skipped": str(_count(listed, SKIPPED)),
        "time": f"{sum(scenario.duration_s for scenario in listed):.3f}",
    }


def _add_case(suite: "ElementTree.Element[str]", scenario: Scenario) -> None:
    facts: dict[str, Any] = {"classname": scenario.feature, "name": _clean(scenario.name)}
    case = ElementTree.SubElement(suite, "testcase", {**facts, "time": f"{scenario.duration_s:.3f}"})
    if scenario.outcome == FAILED:
        text = _clean("\n".join([scenario.error, *scenario.evidence]))
        ElementTree.SubElement(case, "failure", {"message": text.partition("\n")[0]}).text = text
    elif scenario.outcome == SKIPPED:
        ElementTree.SubElement(case, "skipped")


def _clean(text: str) -> str:
    """Return ``text`` without what XML cannot hold."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def _by_feature(scenarios: Iterable[Scenario]) -> dict[str, list[Scenario]]:
    found: dict[str, list[Scenario]] = {}
    for scenario in scenarios:
        found.setdefault(scenario.feature, []).append(scenario)
    return found


def _count(scenarios: Iterable[Scenario], outcome: str) -> int:
    return sum(scenario.outcome == outcome for scenario in scenarios)


FORMS = {"text": TextReport, "json": JsonReport, "junit": JunitReport}
