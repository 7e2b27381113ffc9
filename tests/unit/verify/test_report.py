"""One report, three ways to show it."""

import json
import xml.etree.ElementTree as ET

import pytest

from rbee.verify.report import FORMS, Check, HostReport, host_report

PASSED = Check(id="system.kernel_is_linux", group="system", title="The kernel is Linux", outcome="passed")
FAILED = Check(
    id="secrets.token_is_private",
    group="secrets",
    title="Only root may read the token file",
    outcome="failed",
    expected="0600 root",
    found="0644 <root>",
    mend="chmod 600 /etc/rbee/token",
    nixos="services.rbee.pool.enable = true;",
)
SKIPPED = Check(id="gpu.x", group="gpu", title="The driver is loaded", outcome="skipped", reason="no card & no driver")


@pytest.fixture
def report() -> HostReport:
    return host_report("mac", (PASSED, FAILED, SKIPPED), 1.23456)


def test_json_is_one_document_with_the_counts(report: HostReport) -> None:
    document = json.loads(FORMS["json"](report))
    assert {key: document[key] for key in ("id", "ok", "passed", "failed", "skipped", "duration_s")} == {
        "id": "mac",
        "ok": False,
        "passed": 1,
        "failed": 1,
        "skipped": 1,
        "duration_s": 1.235,
    }
    assert document["checks"][1]["mend"] == "chmod 600 /etc/rbee/token"
    assert set(document["checks"][0]) == set(document["checks"][2])


def test_text_has_a_line_a_group_and_says_what_failed(report: HostReport) -> None:
    assert FORMS["text"](report).splitlines() == [
        "system    1 passed",
        "secrets   1 failed",
        "  Only root may read the token file",
        "    expected  0600 root",
        "    found     0644 <root>",
        "    mend      chmod 600 /etc/rbee/token",
        "    nixos     services.rbee.pool.enable = true;",
        "gpu       1 skipped",
        "mac: not fit, 1 passed, 1 failed, 1 skipped in 1.2 s",
    ]


def test_junit_is_xml_that_counts_the_same(report: HostReport) -> None:
    suite = ET.fromstring(FORMS["junit"](report))[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    failure, skipped = suite.find("testcase/failure"), suite.find("testcase/skipped")
    assert failure is not None and skipped is not None
    assert failure.get("message") == "Only root may read the token file: found 0644 <root>"
    assert "mend      chmod 600 /etc/rbee/token" in (failure.text or "")
    assert skipped.get("message") == "no card & no driver"


def test_what_xml_cannot_hold_is_replaced() -> None:
    found = Check(id="a.b", group="a", title="B", outcome="failed", found="\x1b[31mred\x00", mend="reset\x07")
    suite = ET.fromstring(FORMS["junit"](host_report("mac", (found,), 0.1)))[0]
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "B: found \N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER}"


def test_a_host_where_all_that_applies_passes_is_fit() -> None:
    report = host_report("mac", (PASSED, SKIPPED), 1.0)
    assert report.ok
    assert FORMS["text"](report).splitlines()[-1] == "mac: fit, 1 passed, 1 skipped in 1.0 s"
