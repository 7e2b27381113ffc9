"""Every way a worker, a pool or a queen can die under a job, and what its owner is told."""

import ctypes
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from rbee.errors import WorkerHung, WorkerLost, WorkerOom
from rbee.wire.events import End, Failure, Metrics, Started
from rbee.wire.jobs import JobSpec, JobState
from tests.rig.waiting import PATIENCE, wait_for
from tests.systemd.lab import Lab
from tests.systemd.story import Story

UNIT = "rbee-worker-cpu-0.service"
LONG = JobSpec(model="smollm2", prompt="Once upon a time", max_tokens=250, temperature=0, seed=1, ignore_eos=True)
SLOWLY = "20%"
"""What a worker has of a core until the blow has fallen: ``LONG`` then lasts 20 s, and without it 2 s, or less."""


@pytest.fixture
def busy(lab: Lab) -> Iterator[tuple[Lab, Story]]:
    """A worker of the real model in the middle of a long job, which it does slowly."""
    lab.spawn("smollm2", "--ctx", "1024")
    lab.limit_cpu(SLOWLY)
    with Story(lab, LONG) as story:
        story.wait_for_tokens(5)
        yield lab, story


def undisturbed(lab: Lab) -> str:
    """Return the text of the same job when nothing happens to it (greedy: always the same)."""
    with Story(lab, LONG) as story:
        assert isinstance(story.finish(), End)
        return story.text


@pytest.mark.parametrize("victim", ["rbee-queen.service", "rbee-pool.service"])
def test_sigkill_of_a_daemon_mid_stream_leaves_no_gap_and_no_double(busy: tuple[Lab, Story], victim: str) -> None:
    lab, story = busy
    worker = lab.pid(UNIT)
    lab.systemctl("kill", "--signal=KILL", victim)
    story.wait_for_tokens(20)
    lab.systemctl("kill", "--signal=KILL", victim, check=False)
    lab.limit_cpu("")
    end = story.finish()
    assert isinstance(end, End)
    assert lab.pid(UNIT) == worker, "the worker did not live through it"
    numbers = [number for number, _ in story.seen]
    assert numbers == list(range(1, len(numbers) + 1))
    assert story.text == undisturbed(lab)


def test_restart_of_the_queen_mid_stream_loses_nothing(busy: tuple[Lab, Story]) -> None:
    lab, story = busy
    lab.systemctl("restart", "rbee-queen.service")
    lab.limit_cpu("")
    assert isinstance(story.finish(), End)
    assert story.text == undisturbed(lab)


def whole(story: Story) -> None:
    """Hold a stream to what every stream promises, whatever happened under it."""
    assert isinstance(story.finish(), End), story.seen[-1]
    numbers = [number for number, _ in story.seen]
    assert numbers == list(range(1, len(numbers) + 1))
    assert sum(isinstance(event, Started) for _, event in story.seen) == 1


def resumed_on(story: Story) -> list[str]:
    return [event.resumed_on for _, event in story.seen if isinstance(event, Metrics) and event.resumed_on]


def tried(lab: Lab, story: Story) -> list[str]:
    """Return why each attempt but the last came to nothing."""
    decisions = lab.rbee_json("jobs", "explain", story.job)["decisions"]
    return [each["code"] for each in decisions if each["decision"] == "retry"]


def test_a_killed_worker_comes_back_and_goes_on_where_it_was(lab: Lab) -> None:
    lab.spawn("smollm2", "--ctx", "1024")
    before = lab.pid(UNIT)
    lab.limit_cpu(SLOWLY)
    with Story(lab, LONG) as story:
        story.wait_for_tokens(5)
        lab.systemctl("kill", "--signal=KILL", UNIT)
        lab.limit_cpu("")
        whole(story)
    assert lab.pid(UNIT) not in (0, before)
    assert resumed_on(story) == ["blep:worker-cpu-0"]
    assert tried(lab, story) == [WorkerLost.code]
    assert story.text == undisturbed(lab)


def test_a_job_whose_worker_is_killed_goes_on_at_a_sibling_with_the_same_text(lab: Lab) -> None:
    expected = undisturbed(lab)
    first = lab.rbee_json("pool", "worker", "list")[0]["id"]
    second = lab.spawn("smollm2", "--ctx", "1024")["id"]
    lab.limit_cpu(SLOWLY)
    with Story(lab, LONG) as story:
        story.wait_for_tokens(5)
        [victim] = [event.worker for _, event in story.seen if isinstance(event, Started)]  # sooner than by a command
        lab.systemctl("kill", "--signal=KILL", f"rbee-{victim}.service")
        lab.limit_cpu("")
        whole(story)
    other = second if victim == first else first
    assert lab.rbee_json("jobs", "status", story.job)["worker"] == other
    assert story.text == expected


def test_a_worker_that_is_stopped_lets_its_job_go_on_at_a_sibling(lab: Lab) -> None:
    """It has a while for what ends by itself; this one asks for more, and is not missed."""
    lab.host.write("/etc/rbee/rbee.toml", "[worker]\nstop_grace_s = 3\n")
    first, second = (lab.spawn("smollm2", "--ctx", "8192")["id"] for _ in range(2))
    with Story(lab, replace(LONG, max_tokens=8000)) as story:
        story.wait_for_tokens(5)
        stopped = lab.rbee_json("jobs", "status", story.job)["worker"]
        lab.hive("worker", "stop", stopped, "--yes")
        assert [worker["id"] for worker in lab.hive_json("worker", "list")] == [second if stopped == first else first]
        wait_for(lambda: resumed_on(story), "the job to go on", 30)
        story.wait_for_tokens(5)
        lab.rbee("jobs", "cancel", story.job)
        whole(story)
    assert tried(lab, story) == [WorkerLost.code]


def test_sampled_text_goes_on_as_well_and_says_where(lab: Lab) -> None:
    lab.spawn("smollm2", "--ctx", "1024")
    lab.limit_cpu(SLOWLY)
    with Story(lab, replace(LONG, temperature=1.0, seed=7)) as story:
        story.wait_for_tokens(5)
        lab.systemctl("kill", "--signal=KILL", UNIT)
        lab.limit_cpu("")
        whole(story)
    assert resumed_on(story) == ["blep:worker-cpu-0"]
    assert lab.rbee_json("jobs", "status", story.job)["tokens_out"] == LONG.max_tokens


def test_a_worker_out_of_memory_dies_alone_and_the_job_says_so(lab: Lab) -> None:
    lab.spawn("smollm2", "--ctx", "4096")
    bystander = lab.spawn("smollm2", "--lazy", "--id", "bystander")
    with Story(lab, replace(LONG, max_tokens=4000)) as story:
        story.wait_for_tokens(5)
        eat_memory_of(lab, UNIT)
        end = story.finish()
    assert isinstance(end, Failure)
    assert end.code == WorkerOom.code, end
    assert end.details is not None
    assert abs(end.details["limit_bytes"] - int(lab.show(UNIT, "MemoryMax"))) < 4096  # the kernel counts in pages
    assert end.details["peak_bytes"] > 0.9 * end.details["limit_bytes"]
    assert bystander["id"] in {w["id"] for w in lab.hive_json("worker", "list")}
    for unit in ("rbee-queen.service", "rbee-pool.service"):
        assert lab.show(unit, "NRestarts") == "0"


EAT = """
import os, select, signal, sys
group, limit, worker = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with open(group, "w") as procs:
    procs.write(str(os.getpid()))
gone, children = select.poll(), {}
def eat():
    child = os.fork()
    if child == 0:
        held = b"x" * (limit // 12)
        signal.pause()
    descriptor = os.pidfd_open(child)
    gone.register(descriptor, select.POLLIN)
    children[descriptor] = child
try:
    last = os.pidfd_open(worker)
    gone.register(last, select.POLLIN)
    for _ in range(12):
        eat()
    while last not in (ended := [descriptor for descriptor, _ in gone.poll()]):
        for descriptor in ended:  # the kernel took one of them instead: there has to be another, or nothing is short
            gone.unregister(descriptor)
            os.waitpid(children.pop(descriptor), 0)
            os.close(descriptor)
            eat()
except ProcessLookupError:
    pass  # it has gone already
finally:
    for child in children.values():
        os.kill(child, signal.SIGKILL)
"""


def eat_memory_of(lab: Lab, unit: str) -> None:
    """Fill the unit's memory cgroup from twelve processes, each of them far less worth killing than the worker.

    The kill is the kernel's own: a limit reached in the worker's cgroup. Only who reached it is arranged.
    """
    group = f"/sys/fs/cgroup/memory{lab.show(unit, 'ControlGroup')}/cgroup.procs"
    argv = ["/usr/bin/python3", "-c", EAT, group, lab.show(unit, "MemoryMax"), str(lab.pid(unit))]
    lab.host.run(argv, check=False, timeout=60)


def test_a_decode_thread_that_hangs_is_killed_though_the_event_loop_lives(lab: Lab) -> None:
    lab.host.write("/etc/rbee/rbee.toml", "[worker]\nwatchdog_s = 10\n")
    lab.spawn("smollm2", "--ctx", "1024")
    lab.limit_cpu(SLOWLY)
    with Story(lab, LONG) as story:
        story.wait_for_tokens(5)
        before = lab.pid(UNIT)
        with stopped(decoding_thread(lab.outer_pid(UNIT), story)):
            lab.limit_cpu("")
            wait_for(lambda: lab.pid(UNIT) not in (0, before), "a new worker process", 30)
        whole(story)
    assert tried(lab, story) == [WorkerHung.code]
    assert "watchdog.withheld" in lab.host.journal("WORKER=worker-cpu-0"), "its event loop did not live"


_PTRACE_SEIZE, _PTRACE_INTERRUPT, _PTRACE_DETACH, _WALL = 0x4206, 0x4207, 17, 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


@contextmanager
def stopped(thread: int) -> Iterator[None]:
    """Hold one single thread still, as a kernel or driver call that never returns would (ptrace(2))."""
    for request in (_PTRACE_SEIZE, _PTRACE_INTERRUPT):
        if _libc.ptrace(request, thread, None, None) != 0:
            raise OSError(ctypes.get_errno(), f"ptrace of {thread}")
    os.waitpid(thread, _WALL)
    # Killed meanwhile, it is ours to reap: until then its process cannot end.
    reaper = threading.Thread(target=_reap, args=[thread], daemon=True)
    reaper.start()
    try:
        yield
    finally:
        _libc.ptrace(_PTRACE_DETACH, thread, None, None)
        reaper.join(10)


def _reap(thread: int) -> None:
    with suppress(ChildProcessError):
        while not os.WIFSIGNALED(os.waitpid(thread, _WALL)[1]):
            pass


def decoding_thread(process: int, story: Story) -> int:
    """Return the thread that used most CPU while tokens came."""

    def ticks() -> dict[str, int]:
        stats = {task.name: (task / "stat").read_text() for task in Path(f"/proc/{process}/task").iterdir()}
        return {name: sum(map(int, stat.rpartition(")")[2].split()[11:13])) for name, stat in stats.items()}

    before = ticks()
    story.wait_for_tokens(30)
    return int(max(ticks().items(), key=lambda item: item[1] - before.get(item[0], 0))[0])


def test_power_loss_of_the_host_loses_no_accepted_job(lab: Lab) -> None:
    lab.give_tiny()
    done = lab.rbee_json("jobs", "submit", "--model", "tiny", "--prompt", "abc", "--max-tokens", "4", "--id", "before")
    assert done["state"] == JobState.COMPLETED
    lab.host.power_loss()
    lab.host.boot()
    assert lab.rbee_json("jobs", "status", "before")["state"] == JobState.COMPLETED
    assert lab.units("rbee-worker-*") == set()
    again = lab.rbee_json("jobs", "submit", "--model", "tiny", "--prompt", "abc", "--max-tokens", "4")
    assert again["state"] == JobState.COMPLETED


def test_a_client_that_leaves_stops_its_generation(lab: Lab) -> None:
    lab.spawn("smollm2", "--ctx", "2048")
    lab.limit_cpu(SLOWLY)
    process = lab.host.popen(
        [
            "rbee",
            "jobs",
            "submit",
            "--model",
            "smollm2",
            "--prompt",
            "Tell me everything.",
            "--max-tokens",
            "1500",
            "--ignore-eos",
            "--id",
            "left",
        ]
    )
    wait_for(lambda: lab.show(UNIT, "StatusText").startswith("busy"), "the job to run", 30)
    process.send_signal(signal.SIGINT)
    lab.limit_cpu("")
    assert process.wait(20 * PATIENCE) == 130
    wait_for(lambda: lab.show(UNIT, "StatusText").startswith("ready"), "the slot to be free", 10)
    assert lab.rbee_json("jobs", "status", "left")["state"] == JobState.CANCELLED
    process.communicate()
