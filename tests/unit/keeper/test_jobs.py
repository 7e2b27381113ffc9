import asyncio
import contextlib
import io
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from rbee.cli.output import Output
from rbee.keeper import submitting
from rbee.wire.events import Call, Failure
from rbee.wire.jobs import JobSpec, JobState, JobStatus, Message, Role
from tests.rig.waiting import PATIENCE
from tests.unit.keeper.conftest import House, run
from tests.unit.queen.conftest import soon, words

SUBMIT = ("jobs", "submit", "--model=tiny", "--prompt=hello", "--max-tokens=4")


async def test_the_text_comes_on_standard_output_and_nothing_else_does(house: House) -> None:
    done = await run(*SUBMIT)
    assert (done.code, done.out, done.err) == (0, words(4) + "\n", "")


async def test_somebody_who_looks_is_told_where_and_how_fast(house: House) -> None:
    done = await run(*SUBMIT, terminal=True)
    assert done.out == words(4) + "\n"
    assert "worker-cpu-0, tiny, seed 7\n" in done.err
    assert done.err.endswith("4 tokens, 4000 a second, the first after 1 ms; ended by max_tokens\n")


async def test_as_json_it_is_the_finished_job_with_its_text(house: House) -> None:
    done = await run(*SUBMIT, "--format=json", "--id=mine")
    assert (done.document["id"], done.document["state"], done.document["text"]) == ("mine", "completed", words(4))


async def test_calls_of_tools_are_lines_of_json(house: House) -> None:
    house.worker.calls = [Call(i=0, index=0, id="call_1", name="now", ids=(7,)), Call(i=1, index=0, arguments="{}")]
    done = await run(*SUBMIT)
    assert [json.loads(line) for line in done.out.splitlines() if line] == [
        {"i": 0, "index": 0, "arguments": "", "id": "call_1", "name": "now"},
        {"i": 1, "index": 0, "arguments": "{}"},
    ]
    done = await run(*SUBMIT, "--format=json")
    assert [part["arguments"] for part in done.document["parts"]] == ["", "{}"]


async def test_a_prompt_is_said_by_a_user_to_a_model_that_chats(house: House) -> None:
    await run(*SUBMIT, "--system=be brief")
    asked = house.worker.requests[0]
    said = (Message(role=Role.SYSTEM, content="be brief"), Message(role=Role.USER, content="hello"))
    assert (asked.messages, asked.prompt) == (said, None)


async def test_raw_sends_the_prompt_as_it_is(house: House) -> None:
    await run(*SUBMIT, "--raw")
    assert (house.worker.requests[0].messages, house.worker.requests[0].prompt) == (None, "hello")


async def test_options_reach_the_worker(house: House) -> None:
    await run(*SUBMIT, "--temperature=0", "--top-p=0.5", "--top-k=3", "--min-p=0.1", "--repeat-penalty=1.1",
              "--seed=9", "--stop=a", "--stop=b", "--ignore-eos")  # fmt: skip
    asked = house.worker.requests[0]
    assert (asked.temperature, asked.top_p, asked.top_k, asked.min_p, asked.repeat_penalty) == (0, 0.5, 3, 0.1, 1.1)
    assert (asked.seed, asked.stop, asked.ignore_eos) == (9, ("a", "b"), True)


@pytest.mark.parametrize("dash", [("-",), ("--prompt=-",)])
async def test_a_prompt_may_come_from_standard_input(
    house: House, monkeypatch: pytest.MonkeyPatch, dash: tuple[str, ...]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("grüße\n".encode())))
    assert (await run("jobs", "submit", "--model=tiny", *dash, "--raw", "--max-tokens=1")).code == 0
    assert house.worker.requests[0].prompt == "grüße\n"


async def test_a_prompt_may_come_from_a_file(house: House, tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text("from a file")
    asked = ("jobs", "submit", "--model=tiny", f"--prompt-file={file}", "--raw", "--max-tokens=1")
    assert (await run(*asked)).code == 0
    assert house.worker.requests[0].prompt == "from a file"
    file.write_bytes(b"ab\xff")
    done = await run(*asked)
    assert (done.code, done.err) == (64, "test: the prompt is not UTF-8: byte 2\n")
    file.unlink()
    assert (await run(*asked)).code == 66
    file.touch()
    assert "test: prompt is empty\n" in (await run(*asked)).err


async def test_every_wrong_option_is_named(house: House) -> None:
    done = await run("jobs", "submit", "--model=tiny", "--prompt=x", "--max-tokens=0", "--top-p=2", "--format=json")
    fields = json.loads(done.err)["error"]["details"]["fields"]
    assert (done.code, {field["field"] for field in fields}) == (64, {"max_tokens", "top_p"})
    assert house.worker.requests == []


async def test_a_dry_run_submits_nothing(house: House) -> None:
    assert (await run(*SUBMIT, "--dry-run")).out == "would submit a job for tiny\n"
    assert (await run("jobs", "list")).err == "no jobs\n"


async def test_detached_only_the_id_is_said(house: House) -> None:
    done = await run(*SUBMIT, "--id=mine", "--detach")
    assert (done.code, done.out) == (0, "mine\n")
    assert "rbee-keeper jobs events mine" in done.err
    assert (await run(*SUBMIT, "--id=mine", "--detach", "--format=json")).document["id"] == "mine"


async def test_the_same_id_with_another_body_is_73(house: House) -> None:
    await run(*SUBMIT, "--id=mine")
    assert (await run(*SUBMIT, "--id=mine", "--seed=3")).code == 73


async def test_a_failed_job_keeps_what_came_and_has_its_errors_code(house: House) -> None:
    house.worker.failure = Failure(code="internal", message="decode failed", retriable=False)
    done = await run(*SUBMIT)
    assert (done.code, done.out) == (70, words(4) + "\n")
    assert "4 tokens came before it failed\ntest: decode failed" in done.err


async def test_a_job_that_somebody_else_cancels_is_130(house: House) -> None:
    house.worker.pause_at = 2
    following = asyncio.create_task(run(*SUBMIT, "--id=mine"))
    async with asyncio.timeout(10 * PATIENCE):
        while not house.worker.requests:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    await house.queen.until("mine", "running")
    assert (await run("jobs", "cancel", "mine")).out == "mine cancelled\n"
    done = await following
    assert (done.code, done.out.startswith("w0 w1 ")) == (130, True)
    assert "mine was cancelled after" in done.err


async def test_jobs_are_listed_newest_first_and_filtered(house: House) -> None:
    for name in ("one", "two"):
        await run(*SUBMIT, f"--id={name}")
    heading, first, second = (await run("jobs", "list")).out.splitlines()
    assert heading.split()[:3] == ["JOB", "STATE", "MODEL"]
    assert (first.split()[0], second.split()[:3]) == ("two", ["one", "completed", "tiny"])
    listed = (await run("jobs", "list", "--limit=1", "--after=two", "--format=json")).document
    assert [job["id"] for job in listed] == ["one"]
    assert (await run("jobs", "list", "--state=failed", "--format=json")).document == []
    assert (await run("jobs", "list", "--state=happy")).code == 64


async def test_one_job(house: House) -> None:
    await run(*SUBMIT, "--id=mine")
    done = await run("jobs", "status", "mine")
    assert "state     completed\n" in done.out
    assert "tokens    3 in, 4 out\n" in done.out
    assert (await run("jobs", "status", "nobodys")).code == 66


async def test_events_are_numbered_lines_or_one_array(house: House) -> None:
    await run(*SUBMIT, "--id=mine")
    lines = [line.split("\t") for line in (await run("jobs", "events", "mine")).out.splitlines()]
    assert [event for _, event, _ in lines if event == "token"] == ["token"] * 4
    assert [int(number) for number, _, _ in lines] == sorted({int(number) for number, _, _ in lines})
    last = int(lines[-1][0])
    document = (await run("jobs", "events", "mine", f"--after={last - 1}", "--format=json")).document
    assert [(row["id"], row["event"]) for row in document] == [(last, "end")]
    assert (await run("jobs", "events", "nobodys")).code == 66


async def test_a_job_is_explained(house: House) -> None:
    await run(*SUBMIT, "--id=mine")
    done = await run("jobs", "explain", "mine")
    assert done.out.startswith("job    mine\nstate  completed\n")
    told = [line[len("00:00:00  ") :] if line[0].isdigit() else line for line in done.out.splitlines()[2:]]
    assert told == [
        "accepted as an interactive job for tiny",
        "ran on worker-cpu-0 on blep: it had 1 free slot",
        "    worker-cpu-0 of blep: 1 free slot",
        "    cpu of blep: a worker of this model is there already",
        "completed with 4 tokens",
    ]
    assert (await run("jobs", "explain", "mine", "--format=json")).document["id"] == "mine"


async def test_cancel_again_is_the_same_and_a_dry_run_is_not(house: House) -> None:
    house.worker.pause_at = 0
    await run(*SUBMIT, "--id=mine", "--detach")
    await house.queen.until("mine", "running")
    assert (await run("jobs", "cancel", "mine", "--dry-run")).out == "would cancel mine\n"
    assert (await house.queen.client.get_job("mine")).state is JobState.RUNNING
    for _ in range(2):
        assert (await run("jobs", "cancel", "mine")).code == 0


async def test_no_queen_is_69_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RBEE_KEEPER_QUEEN", "http://127.0.0.1:1")
    done = await run("jobs", "list")
    assert done.code == 69
    assert done.err.startswith("test: queen at http://127.0.0.1:1 cannot be reached: nothing listens there\nhint: ")


# As a process: signals and pipes


CODE = "from rbee.keeper.main import main; main()"
HANGUP = "import signal; signal.signal(signal.SIGHUP, signal.SIG_{}); " + CODE  # whatever these tests run under


@contextlib.asynccontextmanager
async def submitted(house: House, code: str = CODE) -> AsyncIterator[Process]:
    """A keeper that stands in the middle of its answer."""
    house.worker.pause_at = 2
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, *SUBMIT, "--id=mine", stdout=PIPE, stderr=PIPE
    )
    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readexactly(6), 30 * PATIENCE) == b"w0 w1 "
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_an_interrupt_cancels_the_job_and_is_130(house: House, number: signal.Signals) -> None:
    async with submitted(house, HANGUP.format("DFL")) as process:
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), 30 * PATIENCE) == 130
    await house.queen.until("mine", "cancelled")


async def test_under_nohup_a_closed_terminal_cancels_nothing(house: House) -> None:
    async with submitted(house, HANGUP.format("IGN")) as process:
        process.send_signal(signal.SIGHUP)
        house.worker.pause_at = None
        house.worker.open.set()
        assert await asyncio.wait_for(process.wait(), 30 * PATIENCE) == 0
    await house.queen.until("mine", "completed")


async def test_a_result_that_cannot_be_written_cancels_the_job(house: House) -> None:
    house.worker.pause_at = 2
    with Path("/dev/full").open("w") as full:  # noqa: ASYNC230  (a device; it opens at once)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CODE, *SUBMIT, "--id=mine", stdout=full, stderr=PIPE
        )
        _, said = await asyncio.wait_for(process.communicate(), 30 * PATIENCE)
    assert (process.returncode, said) == (74, b"rbee-keeper: standard output: No space left on device\n")
    await house.queen.until("mine", "cancelled")


async def test_a_reader_that_leaves_cancels_the_job_in_silence(house: House) -> None:
    async with submitted(house) as process:
        process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
        house.worker.pause_at = None
        house.worker.open.set()
        assert await asyncio.wait_for(process.wait(), 30 * PATIENCE) == 0
        assert process.stderr is not None
        assert await process.stderr.read() == b""


@pytest.mark.parametrize("form", ["text", "json"])
async def test_a_reader_that_leaves_before_there_is_anything_to_read_cancels_the_job(house: House, form: str) -> None:
    house.worker.pause_at = 0
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CODE, *SUBMIT, "--id=mine", f"--format={form}", stdout=PIPE, stderr=PIPE
    )
    await soon(lambda: house.worker.requests)
    await house.queen.until("mine", "running")
    process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
    assert await asyncio.wait_for(process.wait(), 30 * PATIENCE) == 0
    await house.queen.until("mine", "cancelled")
    assert house.worker.cancelled == ["mine"]


async def test_an_interrupt_before_the_queen_has_taken_the_job_cancels_it_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handlers: dict[int, Callable[[], object]] = {}
    monkeypatch.setattr(asyncio.get_running_loop(), "add_signal_handler", handlers.__setitem__)
    asked, taken = asyncio.Event(), asyncio.Event()
    cancelled: list[str] = []

    class SlowQueen:
        """A FAKE that takes the job after the interrupt: between the two is no telling with a real one."""

        async def submit_job(self, spec: JobSpec) -> JobStatus:
            asked.set()
            await taken.wait()
            return JobStatus(id="late", state=JobState.QUEUED, model=spec.model, created_ms=0)

        async def cancel_job(self, job: str) -> None:
            cancelled.append(job)

    said = io.StringIO()
    submission = asyncio.create_task(
        submitting._interruptible(
            SlowQueen(), JobSpec(model="tiny", prompt="a"), Output(out=io.StringIO(), err=said), detach=False
        )  # type: ignore[arg-type]
    )
    await asyncio.wait_for(asked.wait(), 5 * PATIENCE)
    handlers[signal.SIGINT]()
    taken.set()
    assert await asyncio.wait_for(submission, 5 * PATIENCE) == 130
    assert cancelled == ["late"]
    assert said.getvalue() == "\nlate cancelled\n"
