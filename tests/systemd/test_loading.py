"""Real workers that are loaded otherwise than as a model comes: a smaller cache, adapters, kept conversations."""

from rbee.wire.events import End
from rbee.wire.jobs import JobSpec
from tests.assets.kinds import tiny_encoder, tiny_lora
from tests.rig.waiting import wait_for
from tests.systemd.lab import Lab
from tests.systemd.story import Story

ASKED = ("--raw", "--prompt", "abc " * 40, "--max-tokens", "12", "--temperature", "0", "--ignore-eos")


def said(lab: Lab, model: str) -> str:
    return lab.rbee("jobs", "submit", "--model", model, *ASKED).stdout


def test_a_model_with_an_adapter_is_started_by_its_name_and_says_something_else(lab: Lab) -> None:
    lab.give_tiny()
    lab.give("pirate", tiny_lora)
    assert {each["id"]: each["kind"] for each in lab.hive_json("models", "list")}["pirate"] == "adapter"
    assert said(lab, "tiny+pirate") != said(lab, "tiny")
    workers = {each["model"]: each for each in lab.hive_json("worker", "list")}
    assert set(workers) == {"tiny", "tiny+pirate"}
    code, error = lab.refused("rbee", "jobs", "submit", "--model", "tiny+polite", *ASKED)
    assert (code, error["code"], error["message"]) == (66, "model_not_found", "no pool has the adapter polite")
    code, error = lab.refused("rbee-hive", "worker", "spawn", "cpu", "--model", "pirate")
    assert (code, error["code"], error["hint"]) == (64, "invalid_request", "--model <base>+pirate")


def test_a_model_that_only_embeds_is_not_asked_to_chat(lab: Lab) -> None:
    lab.give_tiny()
    lab.give("encoder", tiny_encoder)
    worker = lab.spawn("encoder", "--ctx", "512")
    assert worker["state"] == "ready"
    code, error = lab.refused("rbee", "jobs", "submit", "--model", "encoder", *ASKED)
    assert (code, error["message"]) == (64, "encoder only embeds texts, and cannot generate")


def test_a_smaller_cache_is_what_was_asked_for_or_a_refusal(lab: Lab) -> None:
    worker = lab.spawn("smollm2", "--kv", "q8_0", "--ctx", "1024", "--slots", "2")
    assert (worker["kv"], worker["state"]) == ("q8_0", "ready")
    assert worker["memory_current_bytes"] < worker["need_bytes"] < worker["memory_limit_bytes"]
    lab.give_tiny()
    code, error = lab.refused("rbee-hive", "worker", "spawn", "cpu", "--model", "tiny", "--kv", "q8_0")
    assert (code, error["code"]) == (64, "invalid_request")
    assert "its heads have 16 values" in error["message"]


def told(lab: Lab) -> tuple[str, int]:
    """Return what the tiny model says, and how much of the prompt it knew."""
    spec = JobSpec(model="tiny", prompt="abc " * 40, max_tokens=12, temperature=0, ignore_eos=True)
    with Story(lab, spec) as story:
        final = story.finish()
    assert isinstance(final, End), final
    return story.text, final.tokens_cached


def put_to_sleep(lab: Lab, worker: str) -> None:
    """Evict it once it has no work any more, which its last job's end is told a moment before."""
    wait_for(lambda: lab.hive("worker", "evict", worker, check=False).returncode == 0, f"{worker} to sleep", 20)
    lab.wait_active(f"rbee-{worker}.service", "inactive")


def test_conversations_outlive_a_sleep_and_not_the_worker(lab: Lab) -> None:
    lab.give_tiny()
    worker = lab.spawn("tiny", "--keep", "--idle", "3600")["id"]
    folder = f"/var/cache/private/rbee-{worker}"
    before, unknown = told(lab)
    assert unknown == 0
    put_to_sleep(lab, worker)
    assert set(lab.host.run(["ls", folder]).stdout.split()) == {"slot-0.bin", "slots.json"}
    after, known = told(lab)
    assert after == before
    assert known > 100, "it was read again"
    assert lab.host.run(["ls", folder]).stdout == "", "what runs has nothing on disk"
    put_to_sleep(lab, worker)
    assert lab.host.run(["ls", folder]).stdout != ""
    lab.hive("worker", "stop", worker, "--yes")
    assert lab.host.run(["ls", "-d", folder], check=False).returncode != 0


def test_what_llama_carries_is_told_and_is_why_a_spawn_is_refused(lab: Lab) -> None:
    builds = {each["name"]: each for each in lab.hive_json("gpu", "status")["builds"]}
    assert (builds["cpu"]["carried"], builds["cpu"]["problem"]) == (True, "")
    code, error = lab.refused("rbee-hive", "worker", "spawn", "rocm", "--model", "smollm2")
    assert (code, error["code"]) == (69, "backend_unavailable")
    assert builds["rocm"]["problem"] in error["message"]
