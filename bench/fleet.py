"""How long the keeper takes over a house: ``python -m bench.fleet`` (root; boots its own systemd hosts).

    pool status --host all   over kept connections, on 3 and on 8 hosts; its peer is a bare ssh to each, side by side
    --help, jobs list        from start to end, on one host; their peer is python3 -c pass

Prints medians and the slowest of the runs, in milliseconds.
"""

import json
import os
import shutil
import statistics
import sys
from collections.abc import Iterator

from tests.rig import namespace, stage
from tests.rig.controller import DIRECTORY, Controller
from tests.rig.host import Host

RUNS = 11
NAMES = ("blep", "workstation", "mac", "attic", "cellar", "kitchen", "garage", "office")
CONFIGS = {3: "/root/three.toml", 8: "/root/eight.toml"}
INSIDE = """
import json, os, subprocess, sys, time
def timed(argv, env):
    took = []
    for _ in range(int(sys.argv[1]) + 1):  # the first one makes the connections
        began = time.monotonic()
        subprocess.run(argv, env={**os.environ, **env}, check=True, stdout=subprocess.DEVNULL)
        took.append((time.monotonic() - began) * 1000)
    return took[1:]
print(json.dumps([[what, timed(argv, env)] for what, argv, env in json.loads(sys.argv[2])]))
"""
STARTS = (["rbee", "--help"], ["rbee", "jobs", "list"], ["rbee-hive", "--help"], ["python3", "-c", "pass"])


def main() -> None:
    """Boot, measure on blep, print."""
    staged = stage.build()
    controller = Controller(namespace.enter(), staged)
    try:
        blep = controller.create(NAMES)["blep"]
        _introduce(blep)
        blep.run(["systemctl", "start", "rbee-queen"])
        wanted = [*_status(3), *_status(8), *((" ".join(argv), argv, {}) for argv in STARTS)]
        done = blep.run(["/usr/bin/python3", "-c", INSIDE, str(RUNS), json.dumps(wanted)], timeout=600)
        for what, took in json.loads(done.stdout):
            print(f"{what:<40} {statistics.median(took):5.0f} ms, slowest {max(took):.0f} ms, {len(took)} runs")
    finally:
        controller.close()


def _introduce(blep: Host) -> None:
    """Let blep log in everywhere with the rig's own key, and know the hosts."""
    blep.write("/root/.ssh/id_ed25519", (DIRECTORY / "id").read_text(), mode=0o600)
    blep.write("/root/.ssh/known_hosts", (DIRECTORY / "known_hosts").read_text(), mode=0o600)
    for count, path in CONFIGS.items():
        blep.write(path, "".join(f"[hosts.{name}]\n" for name in NAMES[:count]))


def _status(count: int) -> Iterator[tuple[str, list[str], dict[str, str]]]:
    env = {"RBEE_CONFIG": CONFIGS[count]}
    yield f"rbee pool status --host all, {count} hosts", ["rbee", "pool", "status", "--host", "all"], env
    ssh = "ssh -F /run/rbee-keeper/config"
    bare = " & ".join(f"{ssh} {name} systemctl show -p ActiveState rbee-pool.service" for name in NAMES[:count])
    yield f"  bare ssh to the same {count}", ["sh", "-c", f"{bare} & wait"], {}


if __name__ == "__main__":
    if os.geteuid() != 0 or shutil.which("systemd-nspawn") is None:
        sys.exit("bench.fleet boots systemd hosts: it wants root, and systemd-nspawn (tools/packages rig)")
    main()
