"""A rig host that goes to sleep, and wakes up.

What is FAKE: the kernel, which cannot sleep here: ``/sys/power/state`` is a plain file, and systemd-suspend.service
waits in place of it. What is real: logind, its inhibitors and its signals, ``systemctl suspend``, and all of rbee.
"""

import contextlib
from collections.abc import Iterator

from tests.rig.host import Host
from tests.rig.waiting import wait_for

UNIT = "systemd-suspend.service"
BED = "/run/bed"
DROP_IN = f"""\
[Service]
ExecStart=
ExecStart=/bin/sh -c 'read -r _ <{BED}'
"""
KERNEL = f"mount -o remount,rw /sys && mkdir /sys/power && echo 'freeze mem' >/sys/power/state && mkfifo {BED}"


def prepare(host: Host) -> None:
    """Let logind believe that this host can sleep; it looks at /sys as that was when it started."""
    host.run(["sh", "-c", KERNEL])
    host.write(f"/run/systemd/system/{UNIT}.d/rig.conf", DROP_IN)
    host.run(["systemctl", "daemon-reload"])
    before = _locks(host, "rbee")  # the next logind lists them, too, until the pool has let go of them
    host.run(["systemctl", "restart", "systemd-logind.service"])
    wait_for(lambda: _kinds(_locks(host, "rbee") - before) == {"shutdown", "sleep"}, "rbee's locks of this logind", 20)


def inhibitors(host: Host, user: str = "rbee") -> set[str]:
    """Return what the pool of ``user`` holds up on this host."""
    return _kinds(_locks(host, user))


def _kinds(locks: set[tuple[str, str]]) -> set[str]:
    return {what for what, _ in locks}


def _locks(host: Host, user: str) -> set[tuple[str, str]]:
    """Return each lock of that pool with the process that took it, which is another one each time."""
    listed = host.run(["systemd-inhibit", "--list", "--no-legend", "--no-pager"]).stdout
    locks = [line.split() for line in listed.splitlines()]  # who, uid, user, pid, command, what, why, mode
    return {(lock[5], lock[3]) for lock in locks if (lock[0], lock[2]) == ("rbee", user)}


@contextlib.contextmanager
def asleep(host: Host) -> Iterator[None]:
    """Send ``host`` to sleep, as a lid that is closed does, and wake it up at the end."""
    host.run(["systemctl", "suspend"])
    wait_for(lambda: host.unit_property(UNIT, "ActiveState") == "activating", f"{host.name} to sleep", 20)
    try:
        yield
    finally:
        host.run(["sh", "-c", f"echo up >{BED}"])
        wait_for(lambda: host.unit_property(UNIT, "ActiveState") == "inactive", f"{host.name} to wake up", 20)
