"""docs/verify.md lists the checks there are, each with its title."""

import ast
from pathlib import Path

from rbee.verify.conftest import GROUPS

ROOT = Path(__file__).parents[3]
SUITE = ROOT / "rbee" / "verify"


def checks() -> list[tuple[str, str, str]]:
    """Return group, name and title of each check, read from the suite's source."""
    found = []
    for group in GROUPS:
        for node in ast.parse((SUITE / f"test_{group}.py").read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found.append((group, node.name.removeprefix("test_"), ast.get_docstring(node) or ""))
    return found


def test_every_module_is_a_group() -> None:
    assert {file.stem.removeprefix("test_") for file in SUITE.glob("test_*.py")} == set(GROUPS)


def test_the_table_is_that_of_the_suite() -> None:
    lines = (ROOT / "docs" / "verify.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    assert rows == [f"| `{group}.{name}` | {title} |" for group, name, title in checks()]


def test_titles_are_one_sentence_and_no_name_stands_twice() -> None:
    found = checks()
    assert len(found) >= 40
    assert len({(group, name) for group, name, _ in found}) == len({title for *_, title in found}) == len(found)
    assert all(title and "\n" not in title and not title.endswith(".") for *_, title in found)
