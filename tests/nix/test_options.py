"""docs/nixos-options.md, and the options as they are declared."""

import re
from typing import Any

import pytest

from rbee.verify import options as named_by_verify
from tools import nixos_options


@pytest.fixture(scope="module")
def declared() -> list[dict[str, Any]]:
    return nixos_options.options()


def test_the_page_of_options_is_as_they_are_declared(declared: list[dict[str, Any]]) -> None:
    assert nixos_options.PAGE.read_text() == nixos_options.page(declared), "python -m tools.nixos_options"


def test_every_option_says_what_it_is_for(declared: list[dict[str, Any]]) -> None:
    assert len(declared) > 60
    for option in declared:
        assert option["description"].strip().endswith("."), option["name"]
        assert option["readOnly"] or "example" in option or option["name"] == "services.rbee.package", option["name"]


def test_the_options_that_verify_names_are_there(declared: list[dict[str, Any]]) -> None:
    names = {option["name"] for option in declared}
    said = [value for value in vars(named_by_verify).values() if isinstance(value, str) and "services.rbee" in value]
    found = {match for text in said for match in re.findall(r"services\.rbee(?:\.\w+)+", text)}
    assert len(found) > 5
    assert found <= names
