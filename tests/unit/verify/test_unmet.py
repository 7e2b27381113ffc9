"""How a check fails."""

import pytest

from rbee.verify.unmet import Finding, Unmet, require, said


def test_what_is_as_expected_is_no_failure() -> None:
    require("active", "active", mend="systemctl start rbee-pool.socket")
    require("7.0 %", "more than 5 %", holds=True, mend="df -h")


def test_a_failure_says_expected_found_and_mend() -> None:
    with pytest.raises(Unmet) as caught:
        require({"rbee-pool.service": "0"}, "1", mend="systemctl revert rbee-pool.service", nixos="x = true;")
    assert caught.value.finding == Finding(
        expected="1", found="rbee-pool.service: 0", mend="systemctl revert rbee-pool.service", nixos="x = true;"
    )


@pytest.mark.parametrize(
    ("value", "words"),
    [(True, "yes"), ({}, "none"), ([], "none"), ("", "nothing"), (None, "nothing"), (["a", "b"], "a, b"), (3, "3")],
)
def test_values_are_words(value: object, words: str) -> None:
    assert said(value) == words
