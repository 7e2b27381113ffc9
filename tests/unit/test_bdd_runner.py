"""bdd-runner, run as its users run it, over small features of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.commands import at_once_s, least_cpu_s

CHECKOUT = Path(__file__).resolve().parents[2]
KETTLE = """\
@tea
Feature: A kettle

  Scenario: Water is boiled
    Given a kettle with 2 cups
    When it is switched on
    Then the water is hot

  @slow
  Scenario: Nobody filled it
    Given a kettle with 0 cups
    When it is switched on
    Then the water is hot

  @steam
  Scenario: It whistles
    Given a kettle with 1 cups
    Then "the neighbours" hear it
"""
CUPS = """\
Feature: Cups

  Scenario Outline: A cup for everybody
    Given a kettle with <cups> cups
    Then the water is cold

    Examples:
      | cups |
      | 1    |
      | 2    |
"""
STEPS = """\
import pytest
from pytest_bdd import given, parsers, then, when

@given(parsers.parse("a kettle with {cups:d} cups"), target_fixture="kettle")
def a_kettle(cups):
    print("filling")
    return {"cups": cups, "hot": False}

@when("it is switched on")
def switched_on(kettle):
    kettle["hot"] = kettle["cups"] > 0

@then("the water is hot")
def hot(kettle):
    assert kettle["hot"], "the water is cold\\x07"

@then("the water is cold")
def cold(kettle):
    assert not kettle["hot"]

def pytest_configure(config):
    for tag in ("tea", "slow", "steam"):
        config.addinivalue_line("markers", tag)
"""


@pytest.fixture
def kitchen(tmp_path: Path) -> Path:
    """A directory with two features: one example of an outline twice, and three scenarios of which one passes."""
    (tmp_path / "conftest.py").write_text(STEPS)
    for name, text in (("kettle", KETTLE), ("cups", CUPS)):
        (tmp_path / f"{name}.feature").write_text(text)
        (tmp_path / f"test_{name}.py").write_text(
            f'from pytest_bdd import scenarios\n\nscenarios("{name}.feature")\n\n\ndef test_no_scenario():\n    pass\n'
        )
    return tmp_path


def run(*argv: str, features: Path | None = None, cwd: Path = CHECKOUT) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    environ.pop("PYTEST_ADDOPTS", None)
    if features is not None:
        environ["RBEE_BDD_FEATURE_PATH"] = str(features)
    command = [sys.executable, "-m", "rbee.bdd_runner", *argv]
    return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False)


def test_text_has_a_line_a_scenario_and_a_summary(kitchen: Path) -> None:
    done = run(features=kitchen)
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "cups: Cups"
    assert lines[1].startswith("  ok ")
    assert lines[1].endswith("A cup for everybody (1)")
    assert any(line.startswith("  FAILED ") and line.endswith("Nobody filled it") for line in lines)
    assert lines[-1].startswith("5 scenarios: 3 passed, 2 failed; ")
    assert "filling" not in done.stdout


def test_a_failed_step_is_named_with_its_place_and_its_reason(kitchen: Path) -> None:
    said = run("kettle", features=kitchen, cwd=kitchen).stdout
    assert "kettle.feature:13: Then the water is hot" in said
    assert "the water is cold" in said


def test_an_undefined_step_fails_and_is_told_how_to_be_defined(kitchen: Path) -> None:
    done = run("--tags", "@steam", features=kitchen, cwd=kitchen)
    assert done.returncode == 1
    assert 'kettle.feature:18: Then "the neighbours" hear it' in done.stdout
    assert "@then('\"the neighbours\" hear it')" in done.stdout
    assert "def the_neighbours_hear_it() -> None:" in done.stdout


def test_a_scenario_without_a_step_fails(kitchen: Path) -> None:
    (kitchen / "cups.feature").write_text("Feature: Cups\n\n  Scenario: Misspelt\n    Givn a kettle with 2 cups\n")
    done = run("cups", features=kitchen, cwd=kitchen)
    assert (done.returncode, "it has no step" in done.stdout) == (1, True)


def test_json_is_one_document(kitchen: Path) -> None:
    done = run("--format", "json", features=kitchen)
    assert done.returncode == 1
    cups, kettle = json.loads(done.stdout)
    assert (cups["id"], cups["outcome"]) == ("cups", "passed")
    assert [scenario["name"] for scenario in cups["scenarios"]] == [
        "A cup for everybody (1)",
        "A cup for everybody (2)",
    ]
    assert len({scenario["id"] for scenario in cups["scenarios"] + kettle["scenarios"]}) == 5
    assert {scenario["name"]: scenario["outcome"] for scenario in kettle["scenarios"]} == {
        "Water is boiled": "passed",
        "Nobody filled it": "failed",
        "It whistles": "failed",
    }
    failed = kettle["scenarios"][1]
    assert failed["tags"] == ["slow", "tea"]
    assert failed["feature"] == "kettle"
    assert failed["duration_s"] >= 0
    assert "the water is cold" in failed["error"]
    assert kettle["scenarios"][0]["error"] is None


def test_junit_is_xml_also_where_an_error_is_not(kitchen: Path) -> None:
    done = run("--format", "junit", features=kitchen)
    suites = ElementTree.fromstring(done.stdout)
    assert {suite.get("name"): (suite.get("tests"), suite.get("failures")) for suite in suites} == {
        "cups": ("2", "0"),
        "kettle": ("3", "2"),
    }
    failure = suites.find("testsuite[@name='kettle']/testcase[@name='Nobody filled it']/failure")
    assert failure is not None
    assert "the water is cold\N{REPLACEMENT CHARACTER}" in (failure.text or "")


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("cups",), ["A cup for everybody (1)", "A cup for everybody (2)"]),
        (("kettle.feature", "--tags", "not slow and not @steam"), ["Water is boiled"]),
        (("--tags=@slow",), ["Nobody filled it"]),
        (("--tags", "tea and slow"), ["Nobody filled it"]),
    ],
    ids=" ".join,
)
def test_features_and_tags_choose(kitchen: Path, words: tuple[str, ...], names: list[str]) -> None:
    found = json.loads(run(*words, "--format=json", features=kitchen).stdout)
    assert [scenario["name"] for feature in found for scenario in feature["scenarios"]] == names


def test_a_file_and_a_directory_may_be_named_wherever_they_lie(kitchen: Path) -> None:
    for word in (kitchen / "cups.feature", kitchen):
        done = run(str(word), "--tags", "not tea", "--format", "json")
        assert done.returncode == 0, done.stderr
        assert [feature["id"] for feature in json.loads(done.stdout)] == ["cups"]


def test_what_is_not_there_is_66(kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    done = run("teapot", features=kitchen)
    assert (done.returncode, done.stdout) == (66, "")
    assert "no feature teapot" in done.stderr
    assert "there are cups, kettle" in done.stderr
    empty = tmp_path_factory.mktemp("empty")
    assert f"{empty} holds no *.feature file" in run(features=empty).stderr
    done = run("--tags", "coffee", "--format", "json", features=kitchen)
    assert (done.returncode, done.stdout) == (66, "")
    assert "no scenario is tagged coffee" in done.stderr


def test_of_settings_that_nobody_made_nothing_is_said(kitchen: Path) -> None:
    done = run("cups", features=kitchen, cwd=kitchen)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_feature_that_nothing_runs_is_no_success(kitchen: Path) -> None:
    (kitchen / "test_cups.py").unlink()
    done = run("cups", features=kitchen)
    assert done.returncode == 66
    assert "no test module" in done.stderr
    assert "scenarios('cups.feature')" in done.stderr


def test_a_feature_that_cannot_be_read_is_a_failure_and_names_the_line(kitchen: Path) -> None:
    (kitchen / "cups.feature").write_text("Feature: Cups\n\n  Scenario: x\n    Given a\n    Whenever b\n")
    done = run(features=kitchen)
    assert done.returncode == 1
    assert "Whenever b" in done.stderr
    assert "cups.feature" in done.stderr


def test_wrong_usage_is_64(kitchen: Path) -> None:
    done = run("--frobnicate")
    assert done.returncode == 64
    assert "Usage:" in done.stderr
    assert run("--format", "xml", features=kitchen).returncode == 64
    done = run("--tags", "tea and", features=kitchen)
    assert done.returncode == 64
    assert "'tea and'" in done.stderr


def test_without_pytest_bdd_it_is_78(kitchen: Path) -> None:
    hide = "import sys; sys.modules['pytest_bdd'] = None; import importlib.util as u; find = u.find_spec"
    hide += "; u.find_spec = lambda name: None if name == 'pytest_bdd' else find(name)"
    code = f"{hide}; sys.argv[1:] = [{str(kitchen)!r}]; from rbee.bdd_runner import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert "pytest-bdd is not installed" in done.stderr


def test_help_comes_at_once() -> None:
    def ask() -> None:
        assert "Usage:" in run("--help").stdout

    assert 0 < least_cpu_s(ask, times=8) < at_once_s()
    loaded = "import sys; from rbee.bdd_runner import main; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], cwd=CHECKOUT, check=False).returncode == 0
