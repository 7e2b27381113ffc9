"""The files of one host: an overlay with this machine's ``/`` at the bottom and a tmpfs on top.

The upper layer is written before the overlay is mounted, so that whole directories of the machine below can be
hidden at no cost: its enabled units, its logs, root's home. It outlives a power loss of the host.
"""

import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from tests.rig.errors import call

HIDDEN = (
    "etc/systemd/system",
    "etc/rbee",
    "home",
    "root",
    "var/lib/rbee",
    "var/lib/systemd",
    "var/log",
)
MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty-static.service",
    "getty.target",
    "man-db.timer",
    "postgresql.service",
    "systemd-binfmt.service",
    "systemd-firstboot.service",
    "systemd-timesyncd.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-update-utmp.service",
)
SOCKETS = ("rbee-queen.socket", "rbee-pool.socket", "rbee-broker.socket")
UNIT_PATHS = ("usr/local/lib/systemd/system", "usr/lib/systemd/system")

LINK_UNIT = """\
[Unit]
Description=Address of the rig's link
DefaultDependencies=no
Wants=network.target
After=sysinit.target local-fs.target
Before=network.target ssh.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/ip link set lo up
ExecStart=/usr/sbin/ip addr replace {ip}/24 dev host0
ExecStart=/usr/sbin/ip link set host0 up
"""
SSHD_CONFIG = """\
UseDNS no
HostKey /etc/ssh/ssh_host_ed25519_key
MaxStartups 100
MaxSessions 100
"""
JOURNALD_CONFIG = """\
[Journal]
Storage=persistent
SystemMaxUse=64M
RateLimitBurst=0
"""


def prepare(directory: Path, *, name: str, ip: str, hosts_file: str, public_key: str, layers: Sequence[Path]) -> Path:
    """Make a host's files below ``directory`` with ``layers`` between them and ``/``; return the merged root."""
    upper, work, root = (directory / part for part in ("upper", "work", "root"))
    for part in (upper, work, root):
        part.mkdir(parents=True)
    _hide(upper)
    _write_identity(upper, name, hosts_file)
    _write_units(upper, ip)
    _write_ssh(upper, name, public_key)
    lower = ":".join(str(layer) for layer in (*layers, Path("/")))
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    call("mount", "-t", "overlay", "-o", options, f"rig-{name}", str(root))
    return root


def finish_install(root: Path, stage: Path) -> None:
    """Do what ``make install`` leaves to a running system: make users, enable those of the sockets that exist.

    The configuration is copied, since this machine's own is hidden, and the stage's with it.
    """
    shutil.copytree(stage / "etc/rbee", root / "etc/rbee", dirs_exist_ok=True)
    call("systemd-sysusers", f"--root={root}")
    there = [unit for unit in SOCKETS if any((root / path / unit).exists() for path in UNIT_PATHS)]
    if there:
        call("systemctl", f"--root={root}", "enable", *there)


def discard(directory: Path) -> None:
    """Unmount a host's tree and free the memory its upper layer took."""
    call("umount", "--lazy", str(directory / "root"))
    shutil.rmtree(directory, ignore_errors=True)


def _hide(upper: Path) -> None:
    for hidden in HIDDEN:
        (upper / hidden).mkdir(parents=True)
        os.setxattr(upper / hidden, "trusted.overlay.opaque", b"y")
    (upper / "root").chmod(0o700)


def _write_identity(upper: Path, name: str, hosts_file: str) -> None:
    _write(upper / "etc/machine-id", uuid.uuid4().hex + "\n")
    _write(upper / "etc/hostname", name + "\n")
    _write(upper / "etc/hosts", hosts_file)
    _write(upper / "etc/resolv.conf", "")
    _write(upper / "etc/systemd/journald.conf.d/rig.conf", JOURNALD_CONFIG)
    (upper / "var/log/journal").mkdir()


def _write_units(upper: Path, ip: str) -> None:
    units = upper / "etc/systemd/system"
    wanted = units / "multi-user.target.wants"
    wanted.mkdir()
    for unit in MASKED:
        (units / unit).symlink_to("/dev/null")
    (units / "default.target").symlink_to("/lib/systemd/system/multi-user.target")
    (wanted / "ssh.service").symlink_to("/lib/systemd/system/ssh.service")
    _write(units / "rig-link.service", LINK_UNIT.format(ip=ip))
    (wanted / "rig-link.service").symlink_to("../rig-link.service")


def _write_ssh(upper: Path, name: str, public_key: str) -> None:
    _write(upper / "root/.ssh/authorized_keys", public_key, mode=0o600)
    _write(upper / "etc/ssh/sshd_config.d/rig.conf", SSHD_CONFIG)
    key = upper / "etc/ssh/ssh_host_ed25519_key"
    call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key))


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
