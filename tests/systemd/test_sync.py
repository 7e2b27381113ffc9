"""What rbee.toml declares is what runs: at boot, on a reload, by command; and nobody's answer is cut for it."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rbee.wire.events import End
from rbee.wire.jobs import JobSpec
from tests.rig.host import Host
from tests.rig.waiting import PATIENCE, wait_for
from tests.systemd.hub_host import SLOW, HubHost, serving_hub
from tests.systemd.lab import Lab
from tests.systemd.story import Story

CONFIG = "/etc/rbee/rbee.toml"
CHAT, EMBED = "rbee-worker-chat.service", "rbee-worker-embed.service"
LONG = JobSpec(model="smollm2", prompt="Once upon a time", max_tokens=600, temperature=0, seed=1, ignore_eos=True)
ONE_THREAD = "[worker]\nthreads = 1\n"
"""For two that compute at once: more threads than cores wait for each other, and most of all on a busy machine."""


def worker(name: str, **changes: Any) -> str:
    """Return the table of a declared worker of the small model."""
    said = {"backend": "cpu", "model": "tiny", **changes}
    return f"[workers.{name}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in said.items())


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')


def declare(lab: Lab, *tables: str) -> None:
    """Write the file; nobody reads it yet."""
    lab.host.write(CONFIG, "\n".join(tables))


def steps(lab: Lab, *options: str) -> list[tuple[str, str, str]]:
    """Sync by command, and return what it says of each step."""
    found = lab.hive_json("sync", *options)["steps"]
    return [(step["action"], step["id"], step["state"]) for step in found]


def workers(lab: Lab) -> dict[str, str]:
    """Return the state of each worker."""
    return {each["id"]: each["state"] for each in lab.hive_json("worker", "list", "--direct")}


@pytest.fixture
def house(shared: Lab) -> Iterator[Lab]:
    """A host with the small model, for which nothing is declared, before and after."""
    declare(shared)
    shared.systemctl("restart", "rbee-pool.service")
    yield shared
    declare(shared)
    shared.systemctl("restart", "rbee-pool.service")
    shared.hive("sync", "--prune")
    assert workers(shared) == {}


def test_declared_workers_come_up_at_boot_and_serve(lab: Lab) -> None:
    lab.give_tiny()
    lab.systemctl("enable", "rbee-pool.service")
    declare(lab, worker("chat"), worker("embed", lazy=True))
    lab.host.reboot()
    wait_for(lambda: workers(lab) == {"chat": "ready", "embed": "asleep"}, "both to be there, one after the other", 20)
    assert (
        lab.rbee_json("jobs", "submit", "--model", "tiny", "--prompt", "abc", "--max-tokens", "2")["state"]
        == "completed"
    )
    before = lab.pid(CHAT)
    lab.systemctl("restart", "rbee-pool.service")
    lab.systemctl("kill", "--signal=KILL", "--kill-whom=main", "rbee-pool.service")
    wait_for(lambda: steps(lab) == [], "nothing to be left to do")
    assert lab.pid(CHAT) == before


def test_a_reload_starts_what_is_new_and_a_command_says_what_it_would_do(house: Lab) -> None:
    mine = house.spawn("tiny", "--id", "mine")["id"]
    declare(house, worker("chat", idle_s=60))
    assert steps(house, "--direct", "--dry-run") == [("start", "chat", "planned"), ("keep", "mine", "kept")]
    assert workers(house) == {mine: "ready"}
    house.systemctl("reload", "rbee-pool.service")
    house.wait_active(CHAT)
    assert house.hive_json("worker", "status", "chat")["declared"]
    declare(house, worker("chat", idle_s=60), "[workers.bad]\n")
    house.systemctl("reload", "rbee-pool.service")
    wait_for(lambda: "workers.bad.backend" in house.host.journal("-u", "rbee-pool.service"), "the refusal")
    code, error = house.refused("rbee-hive", "sync", "--direct")
    assert (code, error["code"]) == (78, "config_invalid")
    declare(house, worker("chat", idle_s=60))
    assert workers(house) == {"chat": "ready", "mine": "ready"}


def test_what_changed_is_made_anew_while_answers_finish_whole(house: Lab) -> None:
    both = [worker(name, model="smollm2", ctx=1024) for name in ("chat", "embed")]
    declare(house, ONE_THREAD, *both)
    house.hive("sync", timeout=120)
    before = {unit: house.pid(unit) for unit in (CHAT, EMBED)}
    with Story(house, LONG) as one, Story(house, LONG) as other:
        one.wait_for_tokens(3)
        other.wait_for_tokens(3)
        wait_for(lambda: set(workers(house).values()) == {"busy"}, "each to have one and to say so")
        declare(house, ONE_THREAD, both[0] + "idle_s = 60\n", both[1])
        house.systemctl("reload", "rbee-pool.service")
        for story in (one, other):
            assert isinstance(story.finish(), End)
            numbers = [number for number, _ in story.seen]
            assert numbers == list(range(1, len(numbers) + 1))
    assert one.text == other.text
    wait_for(lambda: house.pid(CHAT) not in (0, before[CHAT]), "a new chat", 90)
    house.wait_active(CHAT, timeout_s=60)
    assert house.hive_json("worker", "status", "chat")["idle_s"] == 60
    assert house.pid(EMBED) == before[EMBED]


def test_what_is_declared_no_more_goes_and_what_is_somebodys_stays(house: Lab) -> None:
    house.spawn("tiny", "--id", "mine")
    declare(house, worker("chat"), worker("embed", lazy=True))
    assert steps(house, "--direct") == [("start", "chat", "done"), ("start", "embed", "done"), ("keep", "mine", "kept")]
    declare(house, worker("embed", lazy=True))
    assert steps(house, "--direct") == [("stop", "chat", "done"), ("keep", "mine", "kept")]
    assert workers(house) == {"embed": "asleep", "mine": "ready"}
    assert steps(house, "--direct", "--prune") == [("stop", "mine", "done")]
    assert house.units("rbee-worker-*") == {"rbee-worker-embed.service", "rbee-worker-embed.socket"}


def test_a_name_that_is_taken_by_hand_is_a_conflict_or_is_taken_over(house: Lab) -> None:
    house.spawn("tiny", "--id", "chat", "--idle", "2")
    declare(house, worker("chat", idle_s=60))
    done = house.hive("sync", "--direct", check=False)
    assert done.returncode == 73
    assert "worker chat was started by hand, and is not as declared: idle_s is 2, declared is 60" in done.stderr
    assert "hint: rbee-hive sync --prune" in done.stderr
    declare(house, worker("chat", idle_s=2))
    house.systemctl("reload", "rbee-pool.service")
    # It is replaced, so that there is none for a moment.
    wait_for(lambda: [w["declared"] for w in house.hive_json("worker", "list")] == [True], "it to be ours", 30)
    assert workers(house) == {"chat": "asleep"}


def test_without_a_daemon_root_does_the_same(house: Lab) -> None:
    house.systemctl("stop", "rbee-pool.socket", "rbee-pool.service")
    declare(house, worker("chat", memory_bytes=300 << 20, cpu_percent=150, slots=2))
    assert steps(house) == [("start", "chat", "done")]
    assert steps(house) == []
    house.systemctl("start", "rbee-pool.socket", "rbee-pool.service")
    assert steps(house, "--http") == [], "root's and the daemon's own are alike"
    before = house.pid(CHAT)
    declare(house, worker("chat", slots=2), "[worker]\nstop_grace_s = 60\n")
    [step] = house.hive_json("sync", "--direct", "--dry-run")["steps"]
    assert step["why"] == (
        f"cpu_percent is 150, declared is none; memory_bytes is {300 << 20}, declared is none; "
        "stop_grace_s is 30, declared is 60"
    )
    assert steps(house) == [("replace", "chat", "done")], "the daemon takes the file as it is now"
    assert house.pid(CHAT) != before
    assert steps(house) == []


def test_after_an_upgrade_who_runs_goes_on_until_it_sleeps(lab: Lab) -> None:
    lab.give_tiny()
    declare(lab, worker("chat", idle_s=3600), worker("embed", lazy=True))
    lab.hive("sync")
    before = lab.pid(CHAT)
    old = lab.show(CHAT, "ExecStart").partition("path=")[2].partition(" ;")[0]
    new = f"{Path(old).parent}/llm-worker-new"
    lab.host.run(["cp", old, new])
    for unit in ("rbee-pool", "rbee-broker"):
        environment = f"[Service]\nEnvironment=RBEE_WORKER_EXEC={new}\n"
        lab.host.write(f"/run/systemd/system/{unit}.service.d/new.conf", environment)
    lab.systemctl("daemon-reload")
    lab.systemctl("stop", "rbee-broker.service")
    lab.systemctl("restart", "rbee-pool.service")
    wait_for(lambda: new in lab.show(EMBED, "ExecStart"), "who sleeps to be made anew at once", 30)
    assert (lab.pid(CHAT), old in lab.show(CHAT, "ExecStart")) == (before, True)
    lab.hive("worker", "evict", "chat")  # as if its time had come: on a busy machine any may be too short, or too long
    wait_for(lambda: new in lab.show(CHAT, "ExecStart"), "chat to be made anew once it slept", 60)
    assert workers(lab) == {"chat": "asleep", "embed": "asleep"}


@pytest.fixture
def hub(host: Host, tmp_path: Path) -> Iterator[HubHost]:
    with serving_hub(host, tmp_path / "hub") as made:
        yield made


HUB_MODEL = '[models.small]\nrepo = "acme/tiny"\nfile = "tiny.gguf"\n'


def test_a_model_is_fetched_and_a_pool_that_is_killed_meanwhile_goes_on(hub: HubHost) -> None:
    hub.faults(rate_bytes_per_s=SLOW // 8)
    declare(hub, HUB_MODEL + "fetch = true\n", worker("chat", model="small"))
    hub.systemctl("start", "rbee-pool.service")
    wait_for(lambda: hub.partial_bytes() > 0, "the first bytes")
    wait_for(lambda: "syncing: fetching small" in hub.show("rbee-pool.service", "StatusText"), "STATUS to say so")
    killed = hub.pid("rbee-pool.service")
    hub.systemctl("kill", "--signal=KILL", "--kill-whom=main", "rbee-pool.service")
    wait_for(lambda: hub.pid("rbee-pool.service") not in (0, killed), "another pool-managerd")
    hub.systemctl("stop", "rbee-pool.service")
    assert hub.partial_bytes() > 0
    hub.faults()
    hub.systemctl("start", "rbee-pool.service")
    hub.wait_active(CHAT, timeout_s=60)
    assert [path for path in hub.model_files() if "partial" in path] == []
    assert [each for each in hub.ranges()[1:] if each], "it went on where it was"
    assert workers(hub) == {"chat": "ready"}


def test_a_hub_that_is_away_is_said_and_tried_again(hub: HubHost) -> None:
    hub.faults(file_status=503)
    declare(
        hub, HUB_MODEL + "fetch = true\n", worker("chat", model="small"), worker("embed", model="smollm2", lazy=True)
    )
    hub.systemctl("start", "rbee-pool.service")
    wait_for(
        lambda: "2 declarations not met: small: " in hub.show("rbee-pool.service", "StatusText"), "STATUS to say so", 60
    )
    assert workers(hub) == {"embed": "asleep"}, "the others were started"
    hub.faults()
    hub.wait_active(CHAT, timeout_s=90)
    wait_for(lambda: "not met" not in hub.show("rbee-pool.service", "StatusText"), "STATUS to be well again")


def test_a_sync_that_is_interrupted_leaves_nothing_half_made(hub: HubHost) -> None:
    hub.faults(rate_bytes_per_s=SLOW // 4)
    declare(hub, HUB_MODEL, worker("chat", model="small"))
    with hub.host.popen(["env", "HF_ENDPOINT=http://127.0.0.1:18446", "rbee-hive", "sync", "--direct"]) as sync:
        wait_for(lambda: hub.partial_bytes() > 0, "the first bytes")
        sync.send_signal(signal.SIGINT)
        sync.communicate(timeout=30 * PATIENCE)
    assert sync.returncode == 130
    assert workers(hub) == {}
    assert hub.hive_json("models", "list") == [
        each for each in hub.hive_json("models", "list") if each["id"] != "small"
    ]
