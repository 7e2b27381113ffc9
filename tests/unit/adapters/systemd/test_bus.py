"""A bus that is not what it should be. FAKE: sockets that say as much as a bus would, and then no more."""

import asyncio
import contextlib
import errno
import gc
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pystemd.dbuslib import DBusError

from rbee.adapters.systemd import bus
from rbee.adapters.systemd.bus import MANAGER, MANAGER_PATH, Bus
from rbee.adapters.systemd.watch import Watch
from rbee.errors import NoManager, NotFound, NotPermitted, RbeeError
from rbee.pool_core.unit import Mode
from tests.rig.waiting import PATIENCE

GREETED = b"OK 0123456789abcdef0123456789abcdef\r\nAGREE_UNIX_FD\r\n"


SAYING = """
import socket, sys

listener, hangs_up, words = socket.socket(fileno=0), sys.argv[1] == "True", sys.argv[2:]
accepted = []
while True:
    caller, _ = listener.accept()
    accepted.append(caller)
    for word in words:
        caller.recv(4096)
        caller.sendall(bytes.fromhex(word))
    if hangs_up:
        caller.shutdown(socket.SHUT_RDWR)
"""


@contextlib.contextmanager
def saying(path: Path, *words: bytes, hangs_up: bool = True) -> Iterator[None]:
    """Accept who comes, say ``words``, and hang up or say nothing more.

    A process of its own: a thread of ours would say nothing while a call of pystemd's, which keeps the GIL, waits for
    it.
    """
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        told = [sys.executable, "-I", "-S", "-c", SAYING, str(hangs_up), *(word.hex() for word in words)]
        with subprocess.Popen(told, stdin=listener.fileno()) as speaker:
            try:
                yield
            finally:
                speaker.kill()


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/bus")
    return tmp_path / "bus"


def descriptors() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("words", [(), (GREETED,)], ids=["at-once", "after-a-greeting"])
async def test_one_that_hangs_up_is_no_manager_and_leaves_nothing_open(address: Path, words: tuple[bytes, ...]) -> None:
    with saying(address, *words):
        before = descriptors()
        with pytest.raises(NoManager, match="systemd does not answer on the system bus"):
            async with Watch(Mode.SYSTEM):
                pass
        assert descriptors() <= before


async def test_one_that_says_nothing_is_given_up_and_the_loop_goes_on(
    address: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "GREETING_S", 1.5)
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.01)

    turning = asyncio.create_task(turn())
    with saying(address, hangs_up=False), pytest.raises(NoManager, match=r"no answer within 1\.5 s"):
        await asyncio.to_thread(Bus, Mode.SYSTEM)
    turning.cancel()
    assert turns > 1


async def test_one_that_was_opened_for_nobody_is_closed(address: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, gone = threading.Event(), threading.Event()
    connect = Bus.__init__

    def slowly(made: Bus, mode: Mode) -> None:
        connect(made, mode)
        opened.set()
        gone.wait(10 * PATIENCE)

    monkeypatch.setattr(Bus, "__init__", slowly)
    with saying(address, GREETED, hangs_up=False):
        asked = asyncio.create_task(asyncio.to_thread(Bus, Mode.SYSTEM))
        await asyncio.to_thread(opened.wait, 10 * PATIENCE)
        there = descriptors()
        asked.cancel()
        await asyncio.wait({asked})
        gone.set()
        for _ in range(500 * PATIENCE):
            if descriptors() < there:
                break
            await asyncio.sleep(0.02)
        assert descriptors() < there


@pytest.mark.parametrize(
    ("number", "said", "kind"),
    [
        (errno.EHOSTUNREACH, "The name org.freedesktop.systemd1 was not provided by any .service files", NoManager),
        (errno.ENXIO, "Could not get owner of name 'org.freedesktop.systemd1': no such name", NoManager),
        (errno.EIO, "Process org.freedesktop.systemd1 exited with status 1", NoManager),
        (errno.ETIMEDOUT, "Connection timed out", NoManager),
        (errno.ENOENT, "Unit rbee-worker-x.service not found.", NotFound),
        (errno.EACCES, 'Rejected send message; destination="org.freedesktop.systemd1"', NotPermitted),
        (errno.EINVAL, "Unknown interface org.freedesktop.systemd1.Servic or property Type.", RbeeError),
    ],
    ids=str,
)
def test_what_a_bus_says_for_systemd_is_told_from_what_systemd_says(
    address: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str, kind: type[RbeeError]
) -> None:
    with saying(address, GREETED, hangs_up=False), Bus(Mode.SYSTEM) as there:

        def refuse(*_: object) -> None:
            raise DBusError(-number, None, said.encode())

        refusing = type("Refusing", (), {"call_method": staticmethod(refuse)})
        with monkeypatch.context() as replaced:
            replaced.setattr(there, "_bus", refusing)
            with pytest.raises(RbeeError) as refused:
                there.get(MANAGER_PATH, MANAGER, b"Version")
        assert type(refused.value) is kind
