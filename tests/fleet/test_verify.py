"""A host is verified over ssh; then broken in one way after another, and each time that is named, and nothing else."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.rig import Host, wait_for
from tests.rig.host import SSH_CONFIG
from tests.rig.waiting import PATIENCE
from tests.systemd.lab import MODELS, Lab

ROOT = Path(__file__).parents[2]
CONFIG = "/etc/rbee/rbee.toml"
DROP_IN = "mkdir -p /etc/systemd/system/{unit}.d && printf '{text}' >/etc/systemd/system/{unit}.d/loose.conf"
FULL = f"""set -e
size=$(du -sb {MODELS} | cut -f1)
mkdir -p /tmp/kept && cp -a {MODELS}/. /tmp/kept
mount -t tmpfs -o mode=0755,uid=rbee,gid=rbee,size=$((size + 300000)) models {MODELS}
cp -a /tmp/kept/. {MODELS}
cat /dev/zero >{MODELS}/filler 2>/dev/null || true
"""


@dataclass(frozen=True)
class Verified:
    """How ``python -m rbee.verify`` ended."""

    code: int
    report: dict[str, Any]

    @property
    def failed(self) -> dict[str, dict[str, Any]]:
        return {check["id"]: check for check in self.report["checks"] if check["outcome"] == "failed"}

    @property
    def skipped(self) -> dict[str, str]:
        return {check["id"]: check["reason"] for check in self.report["checks"] if check["outcome"] == "skipped"}

    @property
    def passed(self) -> set[str]:
        return {check["id"] for check in self.report["checks"] if check["outcome"] == "passed"}


@dataclass
class Looker(Lab):
    """A lab that is looked at from here, over one ssh connection that is kept warm as the keeper does."""

    ssh_config: Path = Path()

    def call(self, *argv: str, login: str = "root@shared") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "rbee.verify", "--host=shared", f"--ssh={login}"]
        command += [f"--ssh-config={self.ssh_config}", *argv]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60 * PATIENCE)

    def verify(self, *argv: str, login: str = "root@shared") -> Verified:
        done = self.call("--format=json", *argv, login=login)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        assert done.stderr == ""
        return Verified(done.returncode, json.loads(done.stdout))


@pytest.fixture(scope="module")
def lab(module_host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looker]:
    """A host with its daemons up, a model, and a worker that runs it."""
    config = tmp_path_factory.mktemp("ssh") / "config"
    config.write_text(f"Include {SSH_CONFIG}\nHost *\nControlPath {config.parent}/%C\n")
    made = Looker(module_host, ssh_config=config)
    made.systemctl("start", "rbee-queen", "rbee-pool")
    made.give_tiny()
    made.spawn("tiny", "--idle", "3600")
    await_pool(made)
    yield made
    for login in ("root@shared", "ann@shared"):
        subprocess.run(["ssh", "-F", str(config), "-O", "exit", login], check=False, capture_output=True)


def await_pool(lab: Lab) -> None:
    def ready() -> bool:
        done = lab.rbee("pool", "list", "--format", "json", check=False)
        return done.returncode == 0 and any(pool["state"] == "ready" for pool in json.loads(done.stdout))

    wait_for(ready, "the queen to have the pool", 20)


def test_a_sound_host_passes_every_check_that_applies(lab: Looker) -> None:
    found = lab.verify()
    assert (found.code, found.failed) == (0, {})
    assert set(found.skipped) == {
        "clock.clock_is_synchronized",  # the rig's hosts have this machine's clock, and no NTP
        "declared.models_are_here",
        "declared.pool_is_up_from_the_boot_on",
        "declared.workers_are_there",
        "gpu.device_nodes_are_usable",
        "gpu.driver_is_loaded",
        "gpu.nvml_answers",
        "memory.swap_is_not_full",
        "network.pool_answers_from_here",
        "network.worker_ports_are_open",
        "nixos.generation_is_booted",
        "nixos.generation_is_switched_to",
        "queen.queen_lists_the_pool_here",
    } - ({"memory.swap_is_not_full"} if _swap() else set())
    assert all(found.skipped.values())
    assert found.report["id"] == "shared"
    assert found.report["passed"] == len(found.passed) >= 55
    assert found.report["duration_s"] < 12 * PATIENCE


def _swap() -> bool:
    rows = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return rows["SwapTotal"].split()[0] != "0"


@dataclass(frozen=True, kw_only=True)
class Break:
    """``how`` it is done on the host, and what must be said of it. Without ``undo`` the mend that was named is run."""

    how: str
    check: str
    expected: str
    found: str
    undo: str = ""


BREAKS = {
    "a socket is stopped": Break(
        how="systemctl stop rbee-broker.socket",
        check="sockets.broker_socket_is_active",
        expected="active",
        found="inactive",
    ),
    "the queen's socket is stopped": Break(
        how="systemctl stop rbee-queen.socket rbee-queen.service",
        check="sockets.queen_socket_is_active",
        expected="active",
        found="inactive",
    ),
    "a socket is disabled": Break(
        how="systemctl disable rbee-pool.socket",
        check="systemd.sockets_are_enabled",
        expected="all enabled",
        found="rbee-pool.socket: disabled",
    ),
    "a unit file is edited without a reload": Break(
        how="echo '# mine' >>/usr/local/lib/systemd/system/rbee-queen.service",
        check="systemd.units_are_as_on_disk",
        expected="none",
        found="rbee-queen.service",
    ),
    "a copy hides a unit file": Break(
        how="cp /usr/local/lib/systemd/system/rbee-pool.service /etc/systemd/system && systemctl daemon-reload",
        check="systemd.units_are_not_shadowed",
        expected="none",
        found="rbee-pool.service: /etc/systemd/system/rbee-pool.service",
    ),
    "a unit of the machine fails": Break(
        how="systemd-run --quiet --wait --unit=broken false || true",
        check="system.no_other_unit_failed",
        expected="none",
        found="broken.service",
    ),
    "all may read the token": Break(
        how="chmod 644 /etc/rbee/token",
        check="secrets.token_is_private",
        expected="0600 root",
        found="0644 root",
    ),
    "the token stands in the settings": Break(
        how=f"sed 's/^/# /' /etc/rbee/token >>{CONFIG}",
        check="secrets.token_is_not_in_the_settings",
        expected="in its own file only",
        found=f"in {CONFIG}",
    ),
    "the state belongs to another": Break(
        how="chown root /var/lib/rbee",
        check="users.state_is_rbees",
        expected="0755 rbee:rbee",
        found="0755 root:rbee",
    ),
    "user rbee has a shell": Break(
        how="usermod --shell /bin/bash rbee",
        check="users.user_rbee_has_no_shell",
        expected="/usr/sbin/nologin",
        found="/bin/bash",
    ),
    "a drop-in gives a capability": Break(
        how=DROP_IN.format(
            unit="rbee-pool.service",
            text=r"[Service]\nCapabilityBoundingSet=CAP_NET_RAW\nAmbientCapabilities=CAP_NET_RAW\n",
        )
        + " && systemctl daemon-reload && systemctl restart rbee-pool",
        check="sandbox.daemons_have_no_capabilities",
        expected="0000000000000000",
        found="rbee-pool.service: 0000000000002000",
    ),
    "a drop-in opens the homes": Break(
        how=DROP_IN.format(unit="rbee-pool.service", text=r"[Service]\nProtectHome=no\n")
        + " && systemctl daemon-reload && systemctl restart rbee-pool",
        check="sandbox.daemons_do_not_see_homes",
        expected="hidden",
        found="rbee-pool.service: sees /home",
    ),
    "a byte of a model is another": Break(
        how=f"printf X | dd of={MODELS}/other.gguf bs=1 seek=400000 conv=notrunc status=none",
        check="models.checksums_are_right",
        expected=f"{MODELS}/other.gguf: ",
        found=f"{MODELS}/other.gguf: ",
    ),
    "a model's file is cut": Break(
        how=f"truncate -s 400000 {MODELS}/other.gguf",
        check="models.files_are_whole",
        expected="all whole",
        found=f"{MODELS}/other.gguf: 400000 bytes, not ",
    ),
    "a record is no JSON": Break(
        how=f"echo '{{' >{MODELS}/torn.json",
        check="models.records_can_be_read",
        expected="none",
        found=f"{MODELS}/torn.json: ",
    ),
    "a download was abandoned": Break(
        how=f"touch -d '2 days ago' {MODELS}/half.gguf.partial",
        check="models.no_download_was_abandoned",
        expected="none",
        found=f"{MODELS}/half.gguf.partial: 48 h old",
    ),
    "the disk is full": Break(
        how=FULL,
        check="disk.models_have_room",
        expected="more than 5 %",
        found=f"bytes at {MODELS}",
        undo=f"umount -l {MODELS}",
    ),
    # No rig host can have a time of its own, so its date(1) is another one.
    "the clock is wrong": Break(
        how='printf \'#!/bin/sh\\nexec /usr/bin/date -d "+100 seconds" "$@"\\n\' >/usr/local/bin/date'
        " && chmod 755 /usr/local/bin/date",
        check="clock.clock_agrees_with_ours",
        expected="within 2 s",
        found=" s ahead",
        undo="rm /usr/local/bin/date",
    ),
    "the queen is elsewhere": Break(
        how=f"printf '[pool]\\nqueen = \"http://127.0.0.1:9\"\\n' >{CONFIG}",
        check="queen.host_reaches_queen",
        expected="answers",
        found="at http://127.0.0.1:9",
        undo=f": >{CONFIG}",
    ),
    "the settings are no TOML": Break(
        how=f"echo nonsense >{CONFIG}",
        check="system.rbee_settings",
        expected="it can",
        found=f"{CONFIG} is not TOML",
        undo=f": >{CONFIG}",
    ),
    "a declared worker is not there": Break(
        how="systemctl enable rbee-pool.service"
        f' && printf \'[workers.chat]\\nbackend = "cpu"\\nmodel = "tiny"\\nlazy = true\\n\' >{CONFIG}',
        check="declared.workers_are_there",
        expected="all there",
        found="chat: not there",
    ),
    "a declared worker would not come back after a boot": Break(
        how="rm /etc/systemd/system/multi-user.target.wants/rbee-pool.service && systemctl daemon-reload",
        check="declared.pool_is_up_from_the_boot_on",
        expected="enabled",
        found="disabled",
    ),
    "a worker has no memory limit": Break(
        how="systemctl set-property --runtime rbee-worker-cpu-0.service MemoryMax=infinity",
        check="sandbox.workers_have_memory_limits",
        expected="all limited",
        found="rbee-worker-cpu-0.service: no limit",
    ),
}


@pytest.mark.parametrize("broken", BREAKS.values(), ids=BREAKS.keys())
def test_what_is_broken_is_named_and_nothing_else(lab: Looker, broken: Break) -> None:
    if "other.gguf" in broken.how:
        lab.give_tiny("other")  # not the one that the worker runs
    lab.host.run(["bash", "-c", broken.how])

    found = lab.verify()
    failure = found.failed.get(broken.check, {})
    lab.host.run(["bash", "-c", broken.undo or failure.get("mend") or "true"])
    await_pool(lab)

    # Nothing else: so what the tests before this one broke is mended, too.
    assert list(found.failed) == [broken.check], found.failed
    assert found.code == 1
    assert broken.expected in failure["expected"]
    assert broken.found in failure["found"]
    assert failure["mend"]
    assert failure["nixos"] == "", "this is none"


def test_on_nixos_the_option_is_named_as_well(lab: Looker) -> None:
    # No rig host runs NixOS; this is what one is known by.
    lab.host.run(["sh", "-c", "touch /etc/NIXOS; chmod 644 /etc/rbee/token"])
    try:
        found = lab.verify()
    finally:
        lab.host.run(["sh", "-c", "rm /etc/NIXOS; chmod 600 /etc/rbee/token"])
    failure = found.failed["secrets.token_is_private"]
    assert failure["mend"].startswith("chmod 600 /etc/rbee/token")
    assert failure["nixos"].startswith("services.rbee.tokenFile = ")


def test_every_mend_has_mended(lab: Looker) -> None:
    mended = lab.verify()
    assert (mended.code, mended.failed) == (0, {})
    # The last mend ended the worker.
    assert mended.skipped["sandbox.workers_are_confined"] == "no worker runs on this host now"


def test_another_version_is_named(lab: Looker) -> None:
    found = lab.verify("--expect-version=9.9.9")
    assert list(found.failed) == ["versions.installed_version_is_ours"]
    assert found.failed["versions.installed_version_is_ours"]["expected"] == "9.9.9"


def test_who_is_not_root_is_told_what_was_not_looked_at(lab: Looker) -> None:
    lab.host.add_user("ann", linger=False)
    found = lab.verify(login="ann@shared")
    assert found.failed == {}
    assert "log in as root" in found.skipped["sandbox.daemons_do_not_see_homes"]
    assert "sockets.pool_socket_is_active" in found.passed


def test_a_pool_on_the_network_is_tried_from_here(lab: Looker, tmp_path: Path) -> None:
    host, token = lab.host, tmp_path / "token"
    token.write_text(lab.token)
    token.chmod(0o600)
    queen, pool = f"http://{host.ip}:8080", f"http://{host.ip}:9200"
    lab.rbee("orchestrator", "listen", "8080")
    host.run(["rbee-hive", "join", f"--queen={queen}", f"--url={pool}"], input=lab.token)
    await_pool(lab)

    found = lab.verify(f"--queen={queen}", f"--token-file={token}")

    assert found.failed == {}
    assert {
        "network.pool_answers_from_here",
        "network.worker_ports_are_open",
        "queen.queen_lists_the_pool_here",
    } <= found.passed
    assert lab.token not in json.dumps(found.report)


def test_a_pool_at_a_name_that_means_loopback_there_is_told_so(lab: Looker) -> None:
    hosts = lab.host.read("/etc/hosts")
    lab.host.write("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 shared\n")  # as Debian's installer writes it
    try:
        lab.host.run(
            ["rbee-hive", "join", "--queen=http://127.0.0.1:8080", "--url=http://shared:9200", "--listen=9200"],
            input=lab.token,
        )
        await_pool(lab)
        found = lab.verify().failed["network.worker_ports_are_open"]
    finally:
        lab.host.write("/etc/hosts", hosts)
    assert found["found"] == "workers listen on 127.0.1.1, which shared is there"
    assert "set [pool] url in rbee.toml to an address of this host" in found["mend"]


def test_plain_pytest_makes_the_same_checks(lab: Looker, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "--pyargs", "rbee.verify", "--hosts=ssh://root@shared", "-k", "sockets"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=60 * PATIENCE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 passed" in done.stdout


def test_a_host_that_is_not_there_is_said_in_a_sentence(lab: Looker) -> None:
    done = lab.call(login="root@nowhere")
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr.startswith("shared cannot be verified: ")
    assert len(done.stderr.splitlines()) == 1


def test_text_and_junit_say_the_same(lab: Looker) -> None:
    text, junit = lab.call(), lab.call("--format=junit")
    assert text.returncode == junit.returncode == 0, text.stdout + text.stderr + junit.stderr
    assert text.stdout.splitlines()[-1].startswith("shared: fit, ")
    assert "<testsuites>" in junit.stdout
    assert 'failures="0"' in junit.stdout
