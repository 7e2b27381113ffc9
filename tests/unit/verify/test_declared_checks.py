"""What `pool verify` says of workers that are not as declared, from what a dry run of a sync says."""

from typing import Any

import pytest

from rbee.verify import test_declared
from rbee.verify.facts import Facts
from rbee.verify.unmet import Unmet


def host(*steps: dict[str, Any], refusal: str = "", state: str = "ready") -> Facts:
    answer = {"draining": False, "workers": [{"id": "chat", "state": state}], "models": []}
    outcome = None if refusal else {"steps": steps, "unchanged": []}
    return Facts({"pool": {"answer": answer}, "sync": [outcome, refusal]})


def step(action: str, state: str, why: str = "", **more: Any) -> dict[str, Any]:
    return {"id": "chat", "action": action, "state": state, "why": why, **more}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (host(step("replace", "planned", "idle_s is 300, declared is 60")), "replace: idle_s is 300, declared is 60"),
        (host(step("stop", "planned", "it is declared no more")), "stop: it is declared no more"),
        (host(step("keep", "failed", error={"message": "gpu is 7, there is 0"})), "gpu is 7, there is 0"),
        (host(refusal="HTTP 500"), "HTTP 500"),
    ],
)
def test_what_a_sync_would_do_or_cannot_is_named(found: Facts, said: str) -> None:
    with pytest.raises(Unmet, match=said) as caught:
        test_declared.test_workers_are_as_declared(found)
    assert caught.value.finding.mend == "rbee-hive sync"


@pytest.mark.parametrize(
    "found",
    [
        host(),
        host(step("keep", "waits", "its program is the one before an upgrade")),
        host(step("keep", "kept", "it was started by hand")),
        host(step("replace", "planned", "it has failed"), state="failed"),  # which another check names
        host(step("start", "planned", "it is not there") | {"id": "absent"}),
    ],
)
def test_what_is_left_alone_or_named_elsewhere_is_not(found: Facts) -> None:
    test_declared.test_workers_are_as_declared(found)


def test_an_older_pool_is_not_blamed() -> None:
    with pytest.raises(pytest.skip.Exception, match="cannot sync"):
        test_declared.test_workers_are_as_declared(host(refusal="HTTP 404"))
