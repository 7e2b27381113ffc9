"""The queen on a full disk: takes nothing that she could not keep, loses nothing that she has, and heals by herself."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbee.wire.jobs import JobSpec
from tests.rig.waiting import wait_for
from tests.systemd.lab import Lab
from tests.systemd.story import Story

UNIT = "rbee-queen.service"
STATE = "/var/lib/private/rbee-queen"
LONG = JobSpec(model="smollm2", prompt="Once", max_tokens=400, temperature=0, seed=1, ignore_eos=True)


@pytest.fixture
def filler(lab: Lab) -> Iterator[Path]:
    """Give the queen a disk of eight mebibytes (her log alone may grow to four); return a file on it, not there yet."""
    lab.systemctl("stop", UNIT)
    lab.host.run(["mkdir", "-p", "-m", "700", STATE])
    lab.host.run(["mount", "-t", "tmpfs", "-o", "size=8M,mode=700", "tmpfs", STATE])
    yield Path(f"/proc/{lab.host.pid1}/root{STATE}/filler")
    lab.systemctl("stop", UNIT)
    lab.host.run(["umount", STATE])


def test_a_full_disk_refuses_new_jobs_holds_the_old_and_heals(lab: Lab, filler: Path) -> None:
    lab.spawn("smollm2", "--ctx", "1024")
    with Story(lab, LONG) as story:
        story.wait_for_tokens(5)
        _fill(filler)
        status, error = lab.refused("rbee", "jobs", "submit", "--model", "smollm2", "--prompt", "hi", "--id", "refused")
        assert (status, error["code"]) == (75, "no_capacity")
        assert "database or disk is full" in error["message"]
        assert error["hint"].startswith("free space: df -h /")
        assert lab.refused("rbee", "jobs", "status", "refused")[1]["code"] == "not_found"
        wait_for(lambda: "disk is full" in lab.show(UNIT, "StatusText"), "STATUS to say it", 10)
        filler.unlink()
        story.finish()
    numbers = [number for number, _ in story.seen]
    assert numbers == list(range(1, len(numbers) + 1))
    assert lab.rbee_json("jobs", "status", story.job)["tokens_out"] == LONG.max_tokens
    wait_for(lambda: "full" not in lab.show(UNIT, "StatusText"), "STATUS to forget it", 10)
    journal = lab.host.journal(f"_SYSTEMD_UNIT={UNIT}")
    assert (journal.count("database.failed"), journal.count("database.recovered")) == (1, 1)
    assert lab.show(UNIT, "NRestarts") == "0"


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == 28, os.strerror(error.errno or 0)
