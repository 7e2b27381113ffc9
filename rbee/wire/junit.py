"""Results as JUnit's XML, the form that CI systems read: a suite for each host or feature. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

_NOT_XML = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One result: failed where ``failure`` is its text, an error where ``error`` is, skipped where ``skipped`` is said.

    Args:
        message: of a failure, in one line; otherwise its first.
        skipped: why; an empty one is a skip without a reason, None no skip.
    """

    classname: str
    name: str
    time_s: float = 0.0
    failure: str = ""
    message: str = ""
    error: str = ""
    skipped: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    name: str
    time_s: float
    cases: Sequence[Case]


def document(suites: Sequence[Suite]) -> str:
    """Return the document. What XML cannot hold, such as control characters, is replaced."""
    top = ElementTree.Element("testsuites")
    for suite in suites:
        element = ElementTree.SubElement(top, "testsuite", _facts(suite))
        for case in suite.cases:
            _add(element, case)
    ElementTree.indent(top)
    return ElementTree.tostring(top, encoding="unicode", xml_declaration=False) + "\n"


def _facts(suite: Suite) -> dict[str, str]:
    return {
        "name": _clean(suite.name),
        "tests": str(len(suite.cases)),
        "failures": str(sum(bool(case.failure) for case in suite.cases)),
        "errors": str(sum(bool(case.error) for case in suite.cases)),
        "skipped": str(sum(case.skipped is not None for case in suite.cases)),
        "time": f"{suite.time_s:.3f}",
    }


def _add(suite: "ElementTree.Element[str]", case: Case) -> None:
    facts = {"classname": _clean(case.classname), "name": _clean(case.name), "time": f"{case.time_s:.3f}"}
    element = ElementTree.SubElement(suite, "testcase", facts)
    for kind, text in (("failure", case.failure), ("error", case.error)):
        if text:
            message = _clean(case.message or text.partition("\n")[0])
            ElementTree.SubElement(element, kind, {"message": message}).text = _clean(text)
    if case.skipped is not None:
        ElementTree.SubElement(element, "skipped", {"message": _clean(case.skipped)} if case.skipped else {})


def _clean(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
