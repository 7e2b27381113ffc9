"""sd_notify and inherited sockets, spoken to as systemd does."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rbee.adapters.notify import Notifier, bind_socket, inherited_socket, split_address
from rbee.errors import ConfigInvalid
from tests.rig.waiting import PATIENCE


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    """The other end of NOTIFY_SOCKET."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "notify"))
    listener.settimeout(5 * PATIENCE)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    return listener


def test_what_is_said_arrives(systemd: socket.socket) -> None:
    with systemd:
        notifier = Notifier.from_environ({**os.environ, "WATCHDOG_USEC": "3000000"})
        assert notifier.watchdog_s == 3
        notifier.ready("1 pool,\n2 workers")
        assert systemd.recv(1000) == b"READY=1\nSTATUS=1 pool, 2 workers"
        notifier.watchdog()
        assert systemd.recv(1000) == b"WATCHDOG=1"
        notifier.stopping()
        assert systemd.recv(1000) == b"STOPPING=1\nSTATUS=stopping"
        notifier.extend(1.5)
        assert systemd.recv(1000) == b"EXTEND_TIMEOUT_USEC=1500000"
        notifier._speaker.socket.close()


def test_without_systemd_it_is_silent() -> None:
    notifier = Notifier.from_environ({})
    notifier.ready("x")
    assert notifier.watchdog_s is None


def test_a_watchdog_for_another_process_is_not_ours() -> None:
    assert Notifier.from_environ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}).watchdog_s is None


@pytest.mark.parametrize(
    "environ", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": str(os.getpid())}], ids=str
)
def test_no_socket_was_passed(environ: dict[str, str]) -> None:
    assert inherited_socket(environ) is None


def test_several_sockets_are_refused() -> None:
    with pytest.raises(ConfigInvalid, match="passed 2 sockets"):
        inherited_socket({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2"})


TAKE = """
import os
from rbee.adapters.notify import inherited_socket
sock = inherited_socket({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"})
print(sock.getsockname()[1], sock.getblocking(), os.get_inheritable(3))
"""


def test_the_third_descriptor_is_taken_over() -> None:
    with bind_socket("127.0.0.1:0") as sock:
        fd = sock.fileno()
        argv = ["bash", "-c", f'exec "$0" -c "$1" 3<&{fd}', sys.executable, TAKE]
        done = subprocess.run(argv, pass_fds=[fd], capture_output=True, text=True, check=True)
        assert done.stdout.split() == [str(sock.getsockname()[1]), "False", "False"]


def test_a_taken_port_is_said_with_the_address() -> None:
    with bind_socket("127.0.0.1:0") as sock:
        address = f"127.0.0.1:{sock.getsockname()[1]}"
        with pytest.raises(ConfigInvalid, match=f"cannot listen on {address}: Address already in use"):
            bind_socket(address)


@pytest.mark.parametrize("address", ["", "localhost", "host:", ":80x", "h:70000"])
def test_an_address_without_a_port_is_refused(address: str) -> None:
    with pytest.raises(ConfigInvalid, match="expected host:port"):
        split_address(address)


def test_ipv6() -> None:
    assert split_address("[::1]:80") == ("::1", 80)
