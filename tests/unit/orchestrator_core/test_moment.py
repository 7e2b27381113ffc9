"""What a script is told of a moment."""

import dataclasses
import re
from pathlib import Path
from typing import Any

from rbee.keeper.samples import SAMPLES
from rbee.orchestrator_core import moment, prompts
from rbee.orchestrator_core.view import View
from rbee.wire.jobs import JobSpec
from rbee.wire.pools import Gpu, GpuInventory
from rbee.wire.workers import WorkerState
from tests.unit.orchestrator_core.snapshots import GIB, cuda, device, snapshot, view, worker

JOB = JobSpec(model="tiny", prompt="héllo", max_tokens=9)
DOCS = Path(__file__).parents[3] / "docs/policy.md"


def row(model: str = "tiny") -> moment.Plain:
    return moment.job_row(
        JOB, job="j", caller="ann", waited_ms=5, attempts=0, model=model,
        prompt_bytes=prompts.prompt_bytes(JOB), context_tokens=3,
    )  # fmt: skip


def house() -> View:
    gpus = GpuInventory(
        gpus=(Gpu(index=0, name="A", temperature_c=80), Gpu(index=0, name="B", vendor="amd", utilisation_percent=9))
    )
    blep = snapshot(
        "blep",
        cuda(0, need=GIB, model="big"),
        worker(3, slots=2),
        models=("tiny", "big"),
        devices=(device(None), device(0, free=3 * GIB), device(0, free=GIB)),
    )
    return view(
        dataclasses.replace(blep, gpus=gpus),
        snapshot("mac", worker(9), draining=True),
        in_flight={("blep", "worker-cpu-3"): 1},
    )


def test_the_context_tells_everything_but_the_prompt() -> None:
    wait = {"action": "wait", "reason": "so"}
    told = moment.context(row(), [row()] * 200, house(), wait, now_ms=7)
    assert (told["job"]["prompt_bytes"], "héllo" in str(told)) == (6, False)
    assert len(told["queue"]) == moment.QUEUE_SHOWN
    assert [each["id"] for each in told["workers"]] == ["worker-cuda-0", "worker-cpu-3", "worker-cpu-9"]
    assert [each["free_slots"] for each in told["workers"]] == [1, 1, 1]
    assert told["catalog"] == [
        {"id": "tiny", "size_bytes": GIB, "pools": ["blep", "mac"]},
        {"id": "big", "size_bytes": GIB, "pools": ["blep"]},
    ]
    assert (told["builtin"], told["now_ms"]) == (wait, 7)


def test_gpus_of_two_vendors_are_told_apart() -> None:
    told = moment.context(row(), [], house(), None, now_ms=7)
    assert [(gpu["name"], gpu["vendor"], gpu["free_bytes"], gpu["temperature_c"]) for gpu in told["gpus"]] == [
        ("A", "nvidia", 3 * GIB, 80),
        ("B", "amd", GIB, None),
    ]


def test_the_documentation_and_the_samples_have_every_field_and_no_other() -> None:
    told: dict[str, Any] = dict(moment.context(row(), [row()], house(), {"action": "wait"}, now_ms=7))
    lines = dict(re.findall(r"\| `ctx\.(\w+)` \| (.*?) \|\n", DOCS.read_text()))
    assert set(lines) == set(told)
    sample = SAMPLES[0]["context"]
    assert set(sample) == set(told)
    for part in ("job", "pools", "gpus", "workers", "catalog"):
        one = told[part] if part == "job" else told[part][0]
        assert set(re.findall(r"`([^`]*)`", lines[part])[0].split()) == set(one), part
        assert set(sample[part] if part == "job" else sample[part][0]) == set(one), part


def test_of_a_large_fleet_those_pools_are_told_that_matter_for_the_job() -> None:
    pools = [snapshot(f"full-{n:03}", worker(n), models=("tiny",)) for n in range(60)]
    pools += [snapshot(f"other-{n:03}", models=("big",)) for n in range(60)]
    free = snapshot("z-free", worker(0, slots=4), models=("tiny",))
    chosen = snapshot("zz-chosen", worker(0, state=WorkerState.ASLEEP), models=("tiny",))
    known = view(*pools, free, chosen, in_flight={(pool.id, f"worker-cpu-{n}"): 1 for n, pool in enumerate(pools)})
    builtin = {"action": "dispatch", "pool": "zz-chosen", "worker": "worker-cpu-0"}
    told = [pool["id"] for pool in moment.context(row(), [], known, builtin, now_ms=7)["pools"]]
    assert len(told) == moment.POOLS_SHOWN
    assert told == sorted(told)
    assert {"z-free", "zz-chosen"} < set(told)
    assert not any(pool.startswith("other") for pool in told)
