"""rbee policy test: what a script would have decided."""

import json
from pathlib import Path

import pytest

from rbee.adapters.policy import PolicyScript
from rbee.keeper.samples import SAMPLES
from tests.unit.keeper.conftest import run

WAITS = "def decide(ctx):\n    return wait('no') if ctx.job.id == 'job-2' else None\n"


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about time: a busy machine takes longer than the queen waits."""
    monkeypatch.setattr(PolicyScript.decide, "__defaults__", (5.0,))


def script(tmp_path: Path, source: str = WAITS) -> str:
    path = tmp_path / "x.star"
    path.write_text(source)
    return str(path)


async def test_without_a_record_it_is_tried_on_samples(tmp_path: Path) -> None:
    done = await run("policy", "test", script(tmp_path))
    assert done.code == 0
    moment, was, would_be, summary, kinds = done.out.splitlines()
    assert moment == "line 2: job-2, llama3, batch, waited 90.0 s"
    assert (was.split(), would_be.split()) == (
        ["was:", "dispatch", "workstation:worker-cuda-0"],
        ["would", "be:", "wait:", "no"],
    )
    assert kinds == "    1 from dispatch to wait"
    assert summary.startswith("5 decisions of the built-in samples: 1 would differ, 0 failed, the slowest took ")


async def test_a_record_is_replayed_line_by_line(tmp_path: Path) -> None:
    record = tmp_path / "record"
    record.write_text("".join(json.dumps(sample) + "\n" for sample in SAMPLES * 3))
    done = await run("policy", "test", script(tmp_path), f"--record={record}", "--format=json")
    assert (done.code, done.document["decisions"]) == (0, 15)
    assert [each["line"] for each in done.document["differences"]] == [2, 7, 12]


async def test_one_that_fails_is_65_and_names_the_decision(tmp_path: Path) -> None:
    source = "def decide(ctx):\n    return 1 // (ctx.job.max_tokens - 256)\n"
    done = await run("policy", "test", script(tmp_path, source))
    assert done.code == 65
    assert "0 would differ, 5 failed" in done.out
    assert done.out.count("    fails:    ") == 5 and "x.star:2" in done.out


async def test_one_that_agrees_says_so(tmp_path: Path) -> None:
    done = await run("policy", "test", script(tmp_path, "def decide(ctx):\n    return None\n"))
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("5 decisions of the built-in samples: 0 would differ, 0 failed")


async def test_wrong_files_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "record"
    broken.write_text(json.dumps(SAMPLES[0]) + "\n{\n")
    done = await run("policy", "test", script(tmp_path), f"--record={broken}")
    assert done.code == 64
    assert f"{broken}, line 2, is no recorded decision" in done.err
    assert (await run("policy", "test", script(tmp_path), f"--record={tmp_path}/none")).code == 66
    assert (await run("policy", "test", script(tmp_path, "def"))).code == 78
    assert (await run("policy", "test", f"{tmp_path}/none.star")).code == 78
