import dataclasses
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rbee.cli.output import Output
from rbee.cli.progress import Progress
from rbee.cli.workers import follow_spawn, show_worker, spec_of
from rbee.errors import InvalidRequest, RbeeError
from rbee.wire.workers import Backend, SpawnEvent, WorkerExit, WorkerSpec, WorkerState, WorkerStatus

WORKER = WorkerStatus(
    id="worker-cpu-0",
    state=WorkerState.READY,
    model="tiny",
    backend=Backend.CPU,
    address="127.0.0.1:8001",
    ctx=512,
    slots=2,
    idle_s=300,
    memory_limit_bytes=600 << 20,
    memory_current_bytes=90 << 20,
)


def args(**options: Any) -> dict[str, Any]:
    return {"<backend>": "cpu", "--model": "tiny", **{f"--{key}": value for key, value in options.items()}}


def test_options_become_a_spec() -> None:
    asked = args(memory="600M", gpu=None, ctx="512", slots="2", idle="60", cpu="150", id="w", lazy=True)
    assert spec_of(asked) == WorkerSpec(
        backend=Backend.CPU,
        model="tiny",
        id="w",
        ctx=512,
        slots=2,
        memory_bytes=600 << 20,
        cpu_percent=150,
        idle_s=60,
        lazy=True,
    )
    assert [spec_of(args(priority=said)).priority for said in ("-5", "0", None)] == [-5, 0, None]


def test_every_wrong_option_is_named() -> None:
    with pytest.raises(InvalidRequest) as raised:
        spec_of(args(id="Not A Name", slots="1000", idle="0", priority="101"))
    assert {field["field"] for field in raised.value.details["fields"]} == {"id", "slots", "idle_s", "priority"}


def test_a_backend_that_there_is_not() -> None:
    with pytest.raises(InvalidRequest, match="backend"):
        spec_of({**args(), "<backend>": "tpu"})


async def test_a_spawn_is_followed_to_its_worker() -> None:
    async def events() -> AsyncIterator[SpawnEvent]:
        yield SpawnEvent(state="progress", progress=0.4, message="loading 40%")
        yield SpawnEvent(state="ready", worker=WORKER)

    err = io.StringIO()
    assert await follow_spawn(events(), "tiny", Progress(Output(out=io.StringIO(), err=err)).show) == WORKER
    assert err.getvalue() == "starting tiny 40%\n"


async def test_a_spawn_without_a_worker_is_a_failure() -> None:
    async def events() -> AsyncIterator[SpawnEvent]:
        yield SpawnEvent(state="progress")

    with pytest.raises(RbeeError, match="ended without a worker"):
        await follow_spawn(events(), "tiny", Progress(Output(out=io.StringIO(), err=io.StringIO())).show)


def test_what_is_shown_of_a_worker() -> None:
    shown = show_worker(WORKER)
    assert shown["memory"] == "90.0 MiB of 600.0 MiB"
    assert shown["slots"] == "2 of 512 tokens"
    assert shown["idle after"] == "5 min"
    assert (shown["last exit"], shown["priority"]) == (None, None)
    assert show_worker(dataclasses.replace(WORKER, priority=10))["priority"] == "+10"


def test_how_a_worker_last_ended_is_shown() -> None:
    ended = dataclasses.replace(WORKER, last_exit=WorkerExit(result="oom-kill", code="killed/9"))
    assert show_worker(ended)["last exit"] == "oom-kill killed/9"


def test_every_gpu_of_a_worker_is_shown_and_how_long_it_loaded() -> None:
    one = dataclasses.replace(WORKER, backend=Backend.CUDA, gpu=1, load_ms=3400)
    assert (show_worker(one)["backend"], show_worker(one)["loaded in"]) == ("cuda, gpu 1", "3.4 s")
    two = dataclasses.replace(one, gpus=(1, 3), split=(63, 37))
    assert show_worker(two)["backend"] == "cuda, gpu 1 with 63 %, gpu 3 with 37 %"
    assert show_worker(WORKER)["backend"] == "cpu"
    assert show_worker(WORKER)["loaded in"] is None
