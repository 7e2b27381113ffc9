"""What is declared against what runs: which steps, in which order, and that they lead there."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.errors import BackendUnavailable
from rbee.pool_core import declared, unit
from rbee.pool_core.declared import Declaration, Scene, Wanted
from rbee.pool_core.ports import UnitFacts, UnitLimits, WorkerPlan
from rbee.wire.sync import SyncAction, SyncOutcome, SyncState
from rbee.wire.workers import Backend, Kv, WorkerShape, WorkerSpec
from tests.fakes.pool import ASLEEP, FACTS, PLAN, PROGRAM, facts_of

CHAT = dataclasses.replace(PLAN, id="chat", declared=True)
BY_HAND = dataclasses.replace(CHAT, declared=False)
SPEC = WorkerSpec(id="chat", backend=Backend.CPU, model="tiny")
NOW = dataclasses.replace(FACTS, program=PROGRAM)
GOES_FAILED = {**ASLEEP, "socket_state": "failed", "result": "start-limit-hit"}
DRAINS = {"socket_state": "inactive", "status_text": "draining"}


def wanted(spec: WorkerSpec = SPEC, **changes: Any) -> Wanted:
    """Return chat as declared, planned as it is made by ``CHAT`` but for ``changes``."""
    return Wanted(spec=spec, plan=dataclasses.replace(CHAT, declared=False, address="", **changes))


def planned(
    here: Sequence[UnitFacts], *asked: Wanted, missing: Sequence[str] = (), prune: bool = False, **now: Any
) -> SyncOutcome:
    scene = Scene(wanted=asked, missing=missing, here=here, facts=dataclasses.replace(NOW, **now))
    return declared.plan(scene, prune=prune)


def only(outcome: SyncOutcome) -> tuple[SyncAction, SyncState, str]:
    [step] = outcome.steps
    return step.action, step.state, step.why


def test_what_is_not_there_is_started_and_what_is_as_declared_is_not_touched() -> None:
    assert only(planned([], wanted())) == (SyncAction.START, SyncState.PLANNED, "it is not there")
    for state in ({}, ASLEEP, {"service_state": "activating"}):
        outcome = planned([facts_of(CHAT, **state)], wanted())
        assert (outcome.steps, outcome.unchanged) == ((), ("chat",))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"idle_s": 60}, "idle_s is 300, declared is 60"),
        ({"ctx": 1024}, "ctx is 512, declared is 1024"),
        ({"slots": 1}, "slots is 2, declared is 1"),
        ({"kv": "q8_0"}, "kv is f16, declared is q8_0"),
        ({"backend": "cuda"}, "backend is cpu, declared is cuda"),
        ({"gpu_layers": 20}, "gpu_layers is none, declared is 20"),
        ({"cpu_percent": 150}, "cpu_percent is none, declared is 150"),
        ({"pinned": True}, "pinned is off, declared is on"),
        ({"model": "big", "model_paths": ("/models/big.gguf",)}, "model is tiny, declared is big"),
        ({"model_paths": ("/other.gguf",)}, "the file of tiny is /models/tiny.gguf, declared is /other.gguf"),
        ({"limited": True, "memory_bytes": 1 << 31}, "memory_bytes is none, declared is 2147483648"),
        ({"idle_s": 60, "ctx": 64}, "ctx is 512, declared is 64; idle_s is 300, declared is 60"),
    ],
)
def test_what_changed_is_made_anew_and_the_difference_is_said(changes: dict[str, Any], why: str) -> None:
    outcome = planned([facts_of(CHAT)], wanted(**changes))
    assert only(outcome) == (SyncAction.REPLACE, SyncState.PLANNED, why)


def test_what_the_pool_finds_out_by_itself_is_no_change() -> None:
    moved = wanted(memory_bytes=1 << 32, gpu=3, gpus=(3, 4), split=(50, 50), threads=64, batch=7)
    assert planned([facts_of(CHAT)], moved).unchanged == ("chat",)


def test_a_limit_that_is_asked_for_no_more_is_a_change() -> None:
    limited = facts_of(dataclasses.replace(CHAT, limited=True))
    assert planned([limited], wanted(limited=True)).unchanged == ("chat",)
    assert only(planned([limited], wanted()))[2] == f"memory_bytes is {1 << 30}, declared is none"


def test_a_gpu_counts_only_where_it_is_declared() -> None:
    on_one = facts_of(dataclasses.replace(CHAT, backend="cuda", gpu=1))
    plan = {"backend": "cuda", "gpu": 0}
    assert planned([on_one], wanted(**plan)).unchanged == ("chat",)
    fixed = dataclasses.replace(SPEC, gpu=0)
    assert only(planned([on_one], wanted(fixed, **plan)))[2] == "gpu is 1, declared is 0"


def test_a_link_to_the_same_file_is_no_change() -> None:
    linked = wanted(model_paths=("/link.gguf",))
    scene = Scene(wanted=[linked], missing=(), here=[facts_of(CHAT)], facts=NOW, real=lambda _: "/the/file")
    assert declared.plan(scene).unchanged == ("chat",)


def test_settings_of_workers_count_as_well() -> None:
    limits = UnitLimits(load_timeout_s=300, stop_grace_s=30, watchdog_s=60)
    other = dataclasses.replace(limits, stop_grace_s=90)
    outcome = planned([facts_of(CHAT, limits=limits)], wanted(), limits=other, threads=4)
    assert only(outcome)[2] == "threads is 2, declared is 4; stop_grace_s is 30, declared is 90"
    assert planned([facts_of(CHAT, limits=limits)], wanted(), limits=limits).unchanged == ("chat",)


def test_after_an_upgrade_who_sleeps_is_made_anew_and_who_runs_goes_on() -> None:
    new = {"program": "/nix/store/new/bin/llm-worker-rbee"}
    action, state, why = only(planned([facts_of(CHAT, **ASLEEP)], wanted(), **new))
    assert (action, state) == (SyncAction.REPLACE, SyncState.PLANNED)
    assert "before an upgrade" in why
    assert only(planned([facts_of(CHAT)], wanted(), **new))[:2] == (SyncAction.KEEP, SyncState.WAITS)
    assert only(planned([facts_of(CHAT, program_missing=True, **ASLEEP)], wanted()))[0] is SyncAction.REPLACE
    assert only(planned([facts_of(CHAT, program_missing=True)], wanted()))[0] is SyncAction.KEEP


def test_another_way_to_the_same_program_is_no_upgrade() -> None:
    now = dataclasses.replace(NOW, program="/run/current-system/sw/bin/llm-worker-rbee")
    scene = Scene(wanted=[wanted()], missing=(), here=[facts_of(CHAT, **ASLEEP)], facts=now, real=lambda _: PROGRAM)
    assert declared.plan(scene).unchanged == ("chat",)


def test_another_llama_cpp_is_as_an_upgrade() -> None:
    limits = UnitLimits(load_timeout_s=300, stop_grace_s=30, watchdog_s=60)
    other = dataclasses.replace(limits, llama_lib="/opt/llama")
    assert only(planned([facts_of(CHAT, limits=limits)], wanted(), limits=other))[0] is SyncAction.KEEP
    asleep = facts_of(CHAT, limits=limits, **ASLEEP)
    assert only(planned([asleep], wanted(), limits=other))[0] is SyncAction.REPLACE


def test_one_that_failed_or_goes_is_made_anew() -> None:
    assert only(planned([facts_of(CHAT, **GOES_FAILED)], wanted()))[2] == "it has failed: start-limit-hit"
    for plan in (CHAT, BY_HAND):
        assert only(planned([facts_of(plan, **DRAINS)], wanted()))[2] == "it drains"


def test_one_that_is_declared_no_more_is_stopped() -> None:
    assert only(planned([facts_of(CHAT)])) == (SyncAction.STOP, SyncState.PLANNED, "it is declared no more")


def test_what_somebody_else_made_is_left_alone_unless_pruned() -> None:
    spare = dataclasses.replace(PLAN, id="worker-cpu-1", spare=True)
    outcome = planned([facts_of(PLAN), facts_of(spare)])
    assert [(step.action, step.state) for step in outcome.steps] == [(SyncAction.KEEP, SyncState.KEPT)] * 2
    assert [step.why for step in outcome.steps] == [
        "it was started by hand or for a job, not declared",
        "it was made for a deep queue, not declared",
    ]
    assert {step.action for step in planned([facts_of(PLAN), facts_of(spare)], prune=True).steps} == {SyncAction.STOP}


def test_a_worker_of_a_declared_name_that_was_started_by_hand() -> None:
    running, asleep = facts_of(BY_HAND), facts_of(BY_HAND, **ASLEEP)
    assert only(planned([running], wanted()))[:2] == (SyncAction.KEEP, SyncState.WAITS)
    assert only(planned([asleep], wanted()))[0] is SyncAction.REPLACE
    [step] = planned([running], wanted(idle_s=60)).steps
    assert (step.action, step.state) == (SyncAction.KEEP, SyncState.FAILED)
    assert step.error is not None
    assert step.error["code"] == "conflict"
    assert "is not as declared: idle_s is 300, declared is 60" in step.error["message"]
    assert step.error["hint"] == "rbee-hive sync --prune"
    assert only(planned([running], wanted(idle_s=60), prune=True))[0] is SyncAction.REPLACE


def test_one_that_cannot_be_is_said_and_what_there_is_stays() -> None:
    impossible = Wanted(spec=SPEC, problem=BackendUnavailable("no cuda here", hint="ask for cpu"))
    for here, action in (([], SyncAction.START), ([facts_of(CHAT)], SyncAction.KEEP)):
        [step] = planned(here, impossible).steps
        assert (step.action, step.state) == (action, SyncState.FAILED)
        assert step.error is not None
        assert (step.error["code"], step.error["message"]) == ("backend_unavailable", "no cuda here")


def test_what_frees_memory_comes_before_what_wants_it() -> None:
    old, changed = (facts_of(dataclasses.replace(CHAT, id=worker)) for worker in ("old", "changed"))
    fresh = wanted(dataclasses.replace(SPEC, id="fresh"))
    other = wanted(dataclasses.replace(SPEC, id="changed"), idle_s=9)
    outcome = planned([facts_of(PLAN), changed, old], fresh, other, missing=["big"])
    assert [(step.action.value, step.id) for step in outcome.steps] == [
        ("fetch", "big"),
        ("stop", "old"),
        ("replace", "changed"),
        ("start", "fresh"),
        ("keep", "worker-cpu-0"),
    ]


def test_a_worker_waits_for_its_model_and_is_replaced_once_that_was_fetched() -> None:
    fetch, waits = planned([facts_of(CHAT)], Wanted(spec=SPEC), missing=["tiny"]).steps
    assert fetch.action is SyncAction.FETCH
    assert (waits.action, waits.state, waits.why) == (
        SyncAction.KEEP,
        SyncState.WAITS,
        "it waits for its model tiny, which is not here",
    )
    scene = Scene(wanted=[wanted()], missing=(), here=[facts_of(CHAT)], facts=NOW, fetched=["tiny"])
    assert only(declared.plan(scene)) == (SyncAction.REPLACE, SyncState.PLANNED, "its model tiny was fetched anew")


@pytest.mark.parametrize(("keep", "steps"), [(None, 0), (True, 1), (False, 1)])
def test_whether_it_keeps_is_a_change_where_its_own_declaration_says_so(keep: bool | None, steps: int) -> None:
    asked = dataclasses.replace(SPEC, keep=keep)
    runs = dataclasses.replace(CHAT, keep=keep is False)
    assert len(planned([facts_of(runs)], wanted(asked, keep=keep is not False)).steps) == steps


def test_a_limit_that_systemd_has_not_told_yet_is_no_difference_and_no_digit_too_many_is_one() -> None:
    told = UnitLimits(load_timeout_s=300, stop_grace_s=1.0999999999999996, watchdog_s=None)
    now = UnitLimits(load_timeout_s=300, stop_grace_s=1.1, watchdog_s=60)
    assert planned([facts_of(CHAT, limits=told)], wanted(), limits=now).unchanged == ("chat",)
    other = dataclasses.replace(now, stop_grace_s=2)
    assert (
        only(planned([facts_of(CHAT, limits=told)], wanted(), limits=other))[2] == "stop_grace_s is 1.1, declared is 2"
    )


def test_models_of_workers_are_wanted_with_their_adapters_each_once() -> None:
    shapes = {name: WorkerShape(backend=Backend.CPU, model="tiny+pirate") for name in ("a", "b")}
    declaration = Declaration(models=("big", "tiny"), workers=shapes)
    assert declaration.references() == ("big", "tiny", "pirate")
    assert [spec.id for spec in declaration.specs()] == ["a", "b"]


# Whatever there is and whatever is declared, the steps lead there

PLANS = st.builds(
    lambda **changes: dataclasses.replace(PLAN, **changes),
    idle_s=st.sampled_from([60, 300]),
    ctx=st.sampled_from([256, 512]),
    kv=st.sampled_from([str(kv) for kv in Kv]),
    limited=st.booleans(),
    declared=st.booleans(),
    spare=st.booleans(),
    pinned=st.booleans(),
)
STATES = st.sampled_from([{}, ASLEEP, GOES_FAILED, DRAINS, {**ASLEEP, "program_missing": True}])
HOSTS = st.dictionaries(st.sampled_from("abcd"), st.tuples(PLANS, STATES))


def made(specs: Mapping[str, WorkerPlan]) -> list[Wanted]:
    fresh = {name: dataclasses.replace(plan, id=name, declared=False, spare=False) for name, plan in specs.items()}
    return [Wanted(spec=dataclasses.replace(SPEC, id=name), plan=plan) for name, plan in fresh.items()]


@given(HOSTS, st.dictionaries(st.sampled_from("abcd"), PLANS), st.booleans())
def test_applied_once_nothing_is_left_to_do(
    host: dict[str, tuple[WorkerPlan, dict[str, Any]]], specs: dict[str, WorkerPlan], prune: bool
) -> None:
    here = {name: facts_of(dataclasses.replace(plan, id=name), **state) for name, (plan, state) in host.items()}
    asked = made(specs)
    for step in planned([*here.values()], *asked, prune=prune).steps:
        if step.state is not SyncState.PLANNED:
            continue
        if step.action in (SyncAction.STOP, SyncAction.REPLACE):
            del here[step.id]
        if step.action in (SyncAction.START, SyncAction.REPLACE):
            [plan] = (each.plan for each in asked if each.spec.id == step.id)
            assert plan is not None
            here[step.id] = facts_of(dataclasses.replace(plan, declared=True))
    after = planned([*here.values()], *asked, prune=prune)
    assert [step for step in after.steps if step.state is SyncState.PLANNED] == []
    declared_here = {name for name, facts in here.items() if unit.plan_from_argv(facts.argv).declared}
    assert declared_here <= set(specs)
    if prune:
        assert set(here) == set(specs)
