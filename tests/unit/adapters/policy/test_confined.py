"""Scripts are bounded, deterministic, and wrong in sentences."""

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rbee.adapters.policy import confined
from rbee.adapters.policy.confined import LONGEST_BYTES, PolicyScript
from rbee.errors import ConfigInvalid, PolicyFailed
from rbee.keeper.samples import SAMPLES
from tests.rig.waiting import PATIENCE

Load = Callable[[str], PolicyScript]
CONTEXT: Any = SAMPLES[0]["context"]
LONG_S = 5.0
"""For what is not about time: a busy machine takes longer than the queen waits."""
TIME = "took longer"
EXAMPLES = Path(__file__).parents[4] / "etc/policies"


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PolicyScript.decide, "__defaults__", (LONG_S,))
    monkeypatch.setattr(confined, "_START_S", confined._START_S * PATIENCE)


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def loaded(body: str) -> PolicyScript:
        path = tmp_path / "x.star"
        path.write_text(body)
        return PolicyScript.load(path)

    return loaded


def decide(*lines: str) -> str:
    return "def decide(ctx):\n" + "".join(f"    {line}\n" for line in lines)


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ("return None", None),
        ("return wait('later')", {"action": "wait", "reason": "later"}),
        ("return dispatch(ctx.workers[1])", {"action": "dispatch", "pool": "mac", "worker": "worker-cpu-0"}),
        ("return evict_worker(ctx.workers[0])",
         {"action": "evict_worker", "pool": "workstation", "worker": "worker-cuda-0"}),
        ("return start_worker(ctx.pools[0], 'cpu')",
         {"action": "start_worker", "pool": "mac", "backend": "cpu", "gpu": None}),
        ("return start_worker('mac', 'cuda', gpu = 1)",
         {"action": "start_worker", "pool": "mac", "backend": "cuda", "gpu": 1}),
        ("return wait(ctx.builtin['action'] + ctx.catalog[0].id)", {"action": "wait", "reason": "dispatchllama3"}),
        ("return wait(str(len(ctx.queue)) + ctx.gpus[0].name[:6])", {"action": "wait", "reason": "1NVIDIA"}),
    ],
)  # fmt: skip
def test_it_is_given_a_context_and_returns_an_action(load: Load, body: str, answer: Any) -> None:
    assert load(decide(body)).decide(CONTEXT) == answer


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def decide(ctx:\n", "Parse error"),
        ("def decide(ctx):\n    return nonsense\n", "Variable `nonsense` not found"),
        ("x = 1\n", "has no function decide"),
        ("decide = 3\n", "has no function decide"),
        ("def decide():\n    return None\n", "takes one argument"),
        ("def decide(ctx, other):\n    return None\n", "takes one argument"),
        ("load('other.star', 'x')\n", "No imports"),
        ("fail('not like this')\n", "not like this"),
        (
            "def f():\n    return [x for x in range(100000) for y in range(100000)]\nf()\n" + decide("return None"),
            "x.star",
        ),
    ],
)
def test_what_cannot_be_a_policy_is_refused_when_it_is_read(load: Load, source: str, words: str) -> None:
    with pytest.raises(ConfigInvalid, match=words) as refused:
        load(source)
    assert "x.star" in refused.value.message


def test_files_that_are_none(tmp_path: Path, load: Load) -> None:
    with pytest.raises(ConfigInvalid, match="No such file"):
        PolicyScript.load(tmp_path / "absent.star")
    with pytest.raises(ConfigInvalid, match="Is a directory"):
        PolicyScript.load(tmp_path)
    with pytest.raises(ConfigInvalid, match="expected at most"):
        load("#" * (LONGEST_BYTES + 1))
    (tmp_path / "latin.star").write_bytes(b"# \xe9\n")
    with pytest.raises(ConfigInvalid, match="not UTF-8"):
        PolicyScript.load(tmp_path / "latin.star")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["return 1 // 0"], "x.star:2"),
        (["return ctx.nothing"], "nothing"),
        (["fail('no')"], "no"),
        (["return decide(ctx)"], "overflow"),
        (["x = sorted(range(1 << 22), key = lambda v: -v)"], "took longer than 50 ms|by the clock"),
        (["fail('x' * 100000)"], "x{300} at x.star:2|took longer|by the clock"),
        (["return decide"], "serialize"),
        (["x = 0", "for i in range(1 << 30):", "    x += 1"], "took longer than|x.star"),
        (["return [y for x in range(1 << 30) for y in range(1 << 30)]"], "took longer than|x.star"),
    ],
)
def test_a_fault_names_the_place_and_ends_in_time(load: Load, lines: list[str], words: str) -> None:
    script = load(decide(*lines))
    limit_s = confined.LIMIT_S if TIME in words else LONG_S
    with pytest.raises(PolicyFailed, match=words):
        script.decide(CONTEXT, limit_s)
    with pytest.raises(PolicyFailed):
        script.decide(CONTEXT, limit_s)


def test_the_budget_is_counted_in_steps_so_it_is_the_same_everywhere(load: Load) -> None:
    script = load("def decide(ctx):\n    for i in range(1 << 30):\n        pass\n")
    with pytest.raises(PolicyFailed) as refused:
        script.decide(CONTEXT, limit_s=60)
    assert "took longer" not in refused.value.message


@pytest.mark.parametrize("word", ["open", "import_module", "eval", "time", "random", "getattr(ctx, 'x').__class__"])
def test_there_is_no_way_out(load: Load, word: str) -> None:
    with pytest.raises((ConfigInvalid, PolicyFailed)):
        load(decide(f"return {word}('x')")).decide(CONTEXT)


NEST = ("x = ()", "for i in range(190000):", "    x = (x,)")
GREEDY = "x = ['x' * 50000000 for each in range(100)]"
STILL_ASKED = "if ctx.job.id != 'job-1': return None"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        *(((*NEST, last), "") for last in (
            "return x", "return [x]", "str(x)", "'%s' % x", "'{}'.format(x)", "{x: 1}", "fail(x)", "print(x)", "x < x"
        )),
        ((*NEST, "str(x)"), "filled the stack"),
        (("x = 'x' * (ctx.now_ms // 1000)", "return None"), "wanted more than 256.0 MiB of memory"),
        ((GREEDY, "return None"), "wanted more than|took longer|by the clock"),
        (("return wait('x' * 100000)",), "it returned 100000 bytes|it returned .* bytes, expected at most 65536"),
        (("return sorted(range(1 << 22), key = lambda v: -v)",), "took longer than 50 ms|by the clock"),
    ],
)  # fmt: skip
def test_what_nothing_bounds_ends_the_scripts_process_and_not_ours(
    load: Load, lines: tuple[str, ...], words: str
) -> None:
    """Each of these ended the process, or took as much memory as there is: hence a process of its own."""
    script = load(decide(STILL_ASKED, *lines) if words else decide("if ctx == None: return None", *lines))
    limit_s = LONG_S if words and TIME not in words else confined.LIMIT_S
    for _ in range(2):
        with contextlib.suppress(PolicyFailed) if not words else pytest.raises(PolicyFailed, match=words):
            script.decide(CONTEXT, limit_s)
    if words:
        assert script.decide(SAMPLES[1]["context"], LONG_S) is None, "the next decision is made as if nothing had been"


def test_a_script_that_eats_memory_when_it_is_read_is_refused(load: Load) -> None:
    with pytest.raises(ConfigInvalid, match=r"x\.star: .*wanted more than 256.0 MiB"):
        load("x = 'x' * 2000000000\n" + decide("return None"))


def test_one_that_is_never_done_being_read_is_refused(load: Load) -> None:
    forever = "long = 'y' * (1 << 22)\nx = [long.count('z') for each in range(100000)]\n"
    with pytest.raises(ConfigInvalid, match=r"x\.star: .*(took longer than 2000 ms|loop turns|by the clock)"):
        load(forever + decide("return None"))


def test_its_process_may_be_killed_and_ends_with_it(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined, "_START_AGAIN_S", LONG_S)
    before = children()
    script = load(decide("return wait('so')"))
    (mine,) = children() - before
    os.kill(mine, signal.SIGTERM)  # meant for all of a service; whoever is to end is not told so
    assert script.decide(CONTEXT, LONG_S) == {"action": "wait", "reason": "so"}
    os.killpg(mine, signal.SIGKILL)
    with pytest.raises(PolicyFailed, match="its process has ended"):
        script.decide(CONTEXT, LONG_S)
    assert script.decide(CONTEXT, LONG_S) == {"action": "wait", "reason": "so"}
    script.close()
    assert children() <= before


def children() -> set[int]:
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


def test_a_scripts_own_names_are_in_nobodys_way(load: Load) -> None:
    source = "json = 1\ndef _structs(rows):\n    return 'own'\ndef decided(text):\n    return 1\n"
    assert load(source + decide("return wait(_structs(0))")).decide(CONTEXT) == {"action": "wait", "reason": "own"}


def test_what_it_prints_is_kept_in_bounds(load: Load) -> None:
    script = load(decide("for i in range(1000):", "    print('line', i, 'x' * 1000)", "return None"))
    script.decide(CONTEXT)
    assert len(script.said) == 20
    assert script.said[0].startswith("line 0 xxx") and len(script.said[0]) == 200


def test_it_keeps_nothing_from_one_call_to_the_next(load: Load) -> None:
    script = load("seen = []\n" + decide("seen.append(1)", "return wait(str(len(seen)))"))
    with pytest.raises(PolicyFailed, match="mmutable|frozen|Immutable"):
        script.decide(CONTEXT)


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.star")), ids=lambda path: path.stem)
def test_each_example_decides_every_sample(example: Path) -> None:
    script = PolicyScript.load(example)
    answers = [script.decide(sample["context"]) for sample in SAMPLES]
    assert all(answer is None or answer["action"] in ("wait", "dispatch") for answer in answers)


def test_the_night_policy_starts_nothing_for_a_batch_job_and_all_for_a_person() -> None:
    script = PolicyScript.load(EXAMPLES / "night-batch.star")
    answers = {sample["context"]["job"]["id"]: script.decide(sample["context"]) for sample in SAMPLES}
    assert answers["job-4"] is None
    assert answers["job-5"]["action"] == "wait"
    sample = SAMPLES[1]["context"]
    asleep = {**sample, "workers": [{**sample["workers"][0], "state": "asleep"}]}
    assert script.decide(asleep) == {"action": "wait", "reason": "it is for later: nothing is woken for batch jobs"}
    patient = {**asleep, "job": {**sample["job"], "waited_ms": 6 * 3600 * 1000 + 1}}
    assert script.decide(patient) is None, "a job must not wait for ever"


def test_the_cool_policy_spares_a_hot_gpu_if_it_can() -> None:
    script = PolicyScript.load(EXAMPLES / "cool-gpus.star")
    worker = CONTEXT["workers"][0]
    other = {**worker, "id": "worker-cuda-1", "gpu": 1, "gpus": [1]}
    hot = {**CONTEXT["gpus"][0], "temperature_c": 90}
    cold = {**hot, "index": 1, "temperature_c": 40}
    two = {**CONTEXT, "workers": [worker, other], "gpus": [hot, cold]}
    assert script.decide(two) == {"action": "dispatch", "pool": "workstation", "worker": "worker-cuda-1"}
    assert script.decide({**two, "workers": [worker]}) is None
    split = {**other, "id": "worker-cuda-2", "gpus": [1, 0]}
    assert script.decide({**two, "workers": [split, other]})["worker"] == "worker-cuda-1"
    game = {**two, "gpus": [{**cold, "index": 0, "foreign_bytes": 6 << 30}, {**cold, "foreign_bytes": 0}]}
    assert script.decide(game)["worker"] == "worker-cuda-1"
