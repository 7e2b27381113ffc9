"""Every way out of a stream, through every hop: the worker's own metrics say that it stopped, and readers hear it once.

What is promised is a free slot 100 ms after the next token; what two shared cores make of that is counted in tokens,
and may be many: what is told apart here is who stops and who goes on to the end.
"""

import contextlib
import http.client
import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from rbee.wire.events import End, Failure, StopReason, last
from rbee.wire.jobs import JobSpec, Priority
from tests.rig.waiting import PATIENCE, wait_for
from tests.systemd.lab import Lab
from tests.systemd.story import Story
from tests.systemd.worker_metrics import WorkerMetrics

MOST = 4000
"""Tokens asked for: more than any of these tests waits for."""

HALF = MOST // 2
"""Tokens that come before a stop has to be noticed; at their end it has not been."""

LONG = JobSpec(
    model="smollm2",
    prompt="Count.",
    max_tokens=MOST,
    temperature=0,
    ignore_eos=True,
    deadline_ms=3_600_000,  # with one of its own a job has no other limit
)
OPENAI = {"model": "smollm2", "max_tokens": MOST, "temperature": 0, "messages": [{"role": "user", "content": "Count."}]}
CONFIG = """
[queen]
job_limit_s = 10
queue_capacity = 1
queue_policy = "drop-lru"
"""
SUBMIT = ("jobs", "submit", "--model", "smollm2", "--prompt", "Count.", "--raw", "--max-tokens", str(MOST),
          "--ignore-eos", "--deadline", "3600")  # fmt: skip


@dataclass(frozen=True)
class Shop:
    """One worker of the real model, with one slot, for all."""

    lab: Lab
    worker: WorkerMetrics

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> http.client.HTTPConnection:
        """Send a request to the queen; the answer is the caller's to read, or not."""
        connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=30)
        sent = {"Authorization": f"Bearer {self.lab.token}", "Content-Type": "application/json", **headers}
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        return connection

    def answered(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        with contextlib.closing(self.ask(method, path, body)) as connection:
            response = connection.getresponse()
            text = response.read()
            return response.status, json.loads(text) if text else None

    def newest(self) -> str:
        """Return the job that was stored last, empty where none was; the worker may have been asked for another."""
        jobs: list[dict[str, Any]] = self.answered("GET", "/v2/tasks?limit=1")[1]
        return str(jobs[0]["id"]) if jobs else ""

    def told(self, job: str) -> list[str]:
        """Return the events of a job that has ended, by name."""
        with contextlib.closing(self.ask("GET", f"/v2/tasks/{job}/events")) as connection:
            text = connection.getresponse().read().decode()
        return [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]

    def state(self, job: str) -> str:
        return str(self.answered("GET", f"/v2/tasks/{job}")[1]["state"])


@pytest.fixture(scope="module")
def shop(shared: Lab) -> Iterator[Shop]:
    shared.host.write("/etc/rbee/rbee.toml", CONFIG)
    shared.systemctl("restart", "rbee-queen.service")
    shared.spawn("smollm2", "--ctx", "4096")
    with shared.network():
        yield Shop(shared, WorkerMetrics(shared))


@pytest.fixture
def story(shop: Shop) -> Iterator[Story]:
    """Somebody reads a job that runs."""
    with Story(shop.lab, LONG) as reader:
        reader.wait_for_tokens(5)
        yield reader


def stops(shop: Shop, reader: Story, leave: Any) -> Failure | End:
    """Return the one event that ends the job, once the worker has stopped soon after ``leave``."""
    before, seen = shop.worker.read(), reader.tokens
    leave()
    end = reader.finish(30)
    assert shop.worker.settled(before).tokens - before.tokens < seen + HALF
    assert [number for number, _ in reader.seen] == list(range(1, len(reader.seen) + 1))
    assert sum(last(event) for _, event in reader.seen) == 1
    assert isinstance(end, Failure | End)
    return end


def is_cancelled(end: Failure | End) -> bool:
    return isinstance(end, End) and end.stop_reason is StopReason.CANCELLED


@pytest.mark.parametrize(("method", "path"), [("DELETE", ""), ("POST", "/cancel")], ids=["delete", "post"])
def test_cancelled(shop: Shop, story: Story, method: str, path: str) -> None:
    def cancel() -> None:
        assert shop.answered(method, f"/v2/tasks/{story.job}{path}")[0] == 204
        assert shop.state(story.job) == "cancelled"

    assert is_cancelled(stops(shop, story, cancel))
    assert shop.answered(method, f"/v2/tasks/{story.job}{path}")[0] == 204, "again is the same"


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/v2/tasks", {"model": "smollm2", "prompt": "Count.", "max_tokens": MOST, "ignore_eos": True, "temperature": 0,
                       "deadline_ms": 3_600_000}, {"Accept": "text/event-stream"}),
        ("/v1/chat/completions", {**OPENAI, "stream": True}, {}),
        ("/v1/chat/completions", OPENAI, {}),
    ],
    ids=["own-stream", "openai-stream", "openai-whole"],
)  # fmt: skip
def test_a_client_that_leaves(shop: Shop, path: str, body: Any, headers: dict[str, str]) -> None:
    before = shop.worker.read()
    connection = shop.ask("POST", path, body, **headers)
    shop.worker.wait_busy()
    connection.close()
    assert shop.worker.settled(before).tokens - before.tokens < HALF
    job = shop.newest()
    wait_for(lambda: shop.state(job) == "cancelled", "the job to be cancelled")
    told = shop.told(job)
    assert (told.count("end"), told.count("error"), told[-1]) == (1, 0, "end")


def test_a_reader_of_events_that_leaves_ends_nothing(shop: Shop, story: Story) -> None:
    connection = shop.ask("GET", f"/v2/tasks/{story.job}/events")
    connection.getresponse().read(200)
    connection.close()
    story.wait_for_tokens(10)
    assert shop.state(story.job) == "running"
    shop.answered("DELETE", f"/v2/tasks/{story.job}")
    assert is_cancelled(story.finish(30))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
def test_a_command_that_is_ended(shop: Shop, number: int) -> None:
    before = shop.worker.read()
    process = shop.lab.host.popen(["rbee", *SUBMIT])
    shop.worker.wait_busy()
    process.send_signal(number)
    assert process.wait(30 * PATIENCE) == 130
    process.communicate()
    assert shop.worker.settled(before).tokens - before.tokens < HALF
    assert shop.state(shop.newest()) == "cancelled"


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_command_whose_reader_leaves(shop: Shop, form: str) -> None:
    before = shop.worker.read()
    process = shop.lab.host.popen(["bash", "-c", 'exec "$@" > >(sleep 1)', "-", "rbee", *SUBMIT, "--format", form])
    assert process.wait(30 * PATIENCE) == 0
    process.communicate()
    assert shop.worker.settled(before).tokens - before.tokens < HALF
    assert shop.state(shop.newest()) == "cancelled"


def test_a_command_that_is_killed_leaves_its_job(shop: Shop) -> None:
    earlier = shop.newest()
    process = shop.lab.host.popen(["rbee", *SUBMIT])
    shop.worker.wait_busy()
    before = shop.worker.read()
    wait_for(lambda: shop.newest() != earlier, "the job to be stored")
    job = shop.newest()
    wait_for(lambda: shop.state(job) == "running", "it to run")
    process.kill()
    process.communicate()
    assert shop.state(job) == "running"
    shop.answered("DELETE", f"/v2/tasks/{job}")
    shop.worker.settled(before)


@pytest.mark.parametrize("deadline_ms", [1500, None], ids=["deadline", "job-limit"])
def test_time_that_is_over_while_it_runs(shop: Shop, deadline_ms: int | None) -> None:
    before = shop.worker.read()
    answer = {
        "model": "smollm2",
        "prompt": "Count.",
        "max_tokens": MOST,
        "ignore_eos": True,
        "deadline_ms": deadline_ms,
    }
    job = shop.answered("POST", "/v2/tasks", answer)[1]["id"]
    told = shop.told(job)
    assert (told.count("error"), told.count("end"), told[-1]) == (1, 0, "error")
    assert shop.answered("GET", f"/v2/tasks/{job}")[1]["error"]["code"] == "timeout"
    ended = shop.worker.settled(before)
    assert ended.tokens - before.tokens < told.count("token") + HALF


def test_time_that_is_over_while_it_waits_reaches_no_worker(shop: Shop, story: Story) -> None:
    before = shop.worker.read()
    late = shop.answered("POST", "/v2/tasks", {"model": "smollm2", "prompt": "Count.", "deadline_ms": 1000})[1]["id"]
    told = shop.told(late)
    assert set(told) == {"queued", "error"}
    assert told.count("error") == 1
    assert shop.worker.read().ended == before.ended
    shop.answered("DELETE", f"/v2/tasks/{story.job}")
    assert is_cancelled(story.finish(30))


def test_a_job_that_has_to_leave_the_queue_for_another(shop: Shop, story: Story) -> None:
    before = shop.worker.read()
    batch = {"model": "smollm2", "prompt": "Count.", "priority": Priority.BATCH}
    leaves = shop.answered("POST", "/v2/tasks", batch)[1]["id"]
    comes = shop.answered("POST", "/v2/tasks", {"model": "smollm2", "prompt": "Count."})[1]["id"]
    told = shop.told(leaves)
    assert (set(told), told.count("error")) == ({"queued", "error"}, 1)
    assert shop.answered("GET", f"/v2/tasks/{leaves}")[1]["error"]["code"] == "queue_full"
    assert shop.state(comes) == "queued"
    assert shop.answered("DELETE", f"/v2/tasks/{comes}")[0] == 204
    assert shop.told(comes)[-1] == "end"
    assert shop.worker.read().ended == before.ended, "neither came to the worker"
    shop.answered("DELETE", f"/v2/tasks/{story.job}")
    assert is_cancelled(story.finish(30))


def test_what_a_killed_queen_left_is_cancelled_by_the_next(shop: Shop, story: Story) -> None:
    before, seen = shop.worker.read(), story.tokens
    shop.lab.systemctl("kill", "--signal=KILL", "rbee-queen.service")
    wait_for(lambda: cancelled(shop, story.job), "the next queen to have cancelled it", 30)
    assert is_cancelled(story.finish(30))
    assert shop.worker.settled(before).tokens - before.tokens < seen + HALF, "she was away for a while"


def cancelled(shop: Shop, job: str) -> bool:
    """Say whether she has; the first connection may be one that fell with her."""
    try:
        return shop.answered("DELETE", f"/v2/tasks/{job}")[0] == 204
    except (OSError, http.client.HTTPException):
        return False


def test_a_queen_that_stops_ends_nothing_and_the_next_reads_on(shop: Shop, story: Story) -> None:
    before = shop.worker.read()
    shop.lab.systemctl("stop", "rbee-queen.service")
    assert shop.worker.read() == before, "nothing ended at the worker"
    story.wait_for_tokens(20)
    assert shop.state(story.job) == "running"
    shop.answered("DELETE", f"/v2/tasks/{story.job}")
    assert is_cancelled(story.finish(30))
    assert [number for number, _ in story.seen] == list(range(1, len(story.seen) + 1))
