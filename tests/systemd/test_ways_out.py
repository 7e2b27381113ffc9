"""Every way out of a stream ends the work at the worker, too: its own metrics say that a slot is free."""

import http.client
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.rig.waiting import wait_for
from tests.systemd.lab import Lab

WITHIN_S = 1.5
"""What is promised is 100 ms after the next token; a busy machine with two cores may take ten times as long."""

BODY = {"model": "smollm2", "max_tokens": 900, "temperature": 0, "ignore_eos": True}
OPENAI = {"model": "smollm2", "max_tokens": 900, "temperature": 0, "messages": [{"role": "user", "content": "Count."}]}


@pytest.fixture(scope="module")
def shop(shared: Lab) -> Iterator[Lab]:
    """One worker of the real model, for all."""
    shared.host.write("/etc/rbee/rbee.toml", "[queen]\njob_limit_s = 2.0\n")
    shared.systemctl("restart", "rbee-queen.service")
    shared.spawn("smollm2", "--ctx", "1024")
    with shared.network():
        yield shared


def asked(lab: Lab, method: str, path: str, body: Any = None, **headers: str) -> http.client.HTTPConnection:
    """Send a request to the queen; the answer is the caller's to read, or not."""
    connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=30)
    sent = {"Authorization": f"Bearer {lab.token}", "Content-Type": "application/json", **headers}
    connection.request(method, path, None if body is None else json.dumps(body), sent)
    return connection


def slots_busy(lab: Lab) -> int:
    """Ask the worker itself."""
    secret = (lab.host.root / "run/rbee/workers/worker-cpu-0.secret").read_text().strip()
    connection = http.client.HTTPConnection("127.0.0.1", 8001, timeout=5)
    connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {secret}"})
    found = re.search(r"^rbee_worker_slots_busy (\d+)", connection.getresponse().read().decode(), re.MULTILINE)
    connection.close()
    assert found is not None
    return int(found[1])


def freed_after_s(lab: Lab) -> float:
    began_s = time.monotonic()
    wait_for(lambda: slots_busy(lab) == 0, "the slot to be free", 10)
    return time.monotonic() - began_s


def busy(lab: Lab) -> None:
    wait_for(lambda: slots_busy(lab) == 1, "the job to run", 20)


def state(lab: Lab, job: str) -> str:
    answer = asked(lab, "GET", f"/v2/tasks/{job}").getresponse()
    known: str = json.loads(answer.read())["state"]
    return known


def submitted(lab: Lab, job: str, **facts: Any) -> None:
    asked(lab, "POST", "/v2/tasks", {**BODY, "prompt": "Count.", "id": job, **facts}).getresponse().read()
    busy(lab)


def test_delete(shop: Lab) -> None:
    submitted(shop, "by-delete")
    assert asked(shop, "DELETE", "/v2/tasks/by-delete").getresponse().status == 204
    assert freed_after_s(shop) < WITHIN_S
    assert state(shop, "by-delete") == "cancelled"


def test_cancel_by_post(shop: Lab) -> None:
    submitted(shop, "by-post")
    assert asked(shop, "POST", "/v2/tasks/by-post/cancel", {}).getresponse().status == 204
    assert freed_after_s(shop) < WITHIN_S


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/v2/tasks", {**BODY, "prompt": "Count."}, {"Accept": "text/event-stream"}),
        ("/v1/chat/completions", {**OPENAI, "stream": True}, {}),
        ("/v1/chat/completions", OPENAI, {}),
    ],
    ids=["own-stream", "openai-stream", "openai-whole"],
)
def test_a_client_that_leaves(shop: Lab, path: str, body: Any, headers: dict[str, str]) -> None:
    connection = asked(shop, "POST", path, body, **headers)
    busy(shop)
    connection.close()
    assert freed_after_s(shop) < WITHIN_S


def test_a_reader_of_events_that_leaves_ends_nothing(shop: Lab) -> None:
    submitted(shop, "read-only")
    connection = asked(shop, "GET", "/v2/tasks/read-only/events")
    connection.getresponse().read(200)
    connection.close()
    assert state(shop, "read-only") == "running"
    asked(shop, "DELETE", "/v2/tasks/read-only").getresponse().read()
    assert freed_after_s(shop) < WITHIN_S


@pytest.mark.parametrize(("job", "facts"), [("by-deadline", {"deadline_ms": 1200}), ("by-limit", {})])
def test_time_that_is_over(shop: Lab, job: str, facts: dict[str, Any]) -> None:
    submitted(shop, job, **facts)
    wait_for(lambda: state(shop, job) == "failed", "the time to be over", 20)
    assert freed_after_s(shop) < WITHIN_S


def test_a_queen_that_is_killed_leaves_the_work_to_the_next_and_that_ends_it(shop: Lab) -> None:
    submitted(shop, "orphan")
    shop.systemctl("kill", "--signal=KILL", "rbee-queen.service")
    answered(lambda: asked(shop, "DELETE", "/v2/tasks/orphan").getresponse().status == 204)
    assert freed_after_s(shop) < WITHIN_S
    assert state(shop, "orphan") == "cancelled"


def answered(ask: Callable[[], bool]) -> None:
    """Ask until the queen is there again; the first connection may be the one that fell with her."""

    def there() -> bool:
        try:
            return ask()
        except (OSError, http.client.HTTPException):
            return False

    wait_for(there, "the queen to be back", 20)
