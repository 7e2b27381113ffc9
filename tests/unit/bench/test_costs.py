"""What a process spends, told apart: threads, imports; and the time between being asleep and awake."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

from bench import imports, threads
from bench.peers.libraries import Libraries
from bench.threads import Thread
from bench.wake import Started, Woken, table

METRICS = 'rbee_worker_engine_seconds{part="compute"} 4.0\nrbee_worker_engine_seconds{part="rest"} 0.25\n'


def test_pythons_part_is_all_that_others_than_the_decode_thread_do_and_what_that_one_does_beside() -> None:
    known = [Thread(name="python", cpu_s=1.0), Thread(name="decode", cpu_s=9.0), Thread(name="decode", cpu_s=8.0)]
    assert threads.python_s(known, METRICS) == 1.25


def test_without_names_or_numbers_nothing_is_said_of_it() -> None:
    assert threads.python_s([Thread(name="python", cpu_s=1.0)], METRICS) is None
    assert threads.python_s([Thread(name="decode", cpu_s=1.0)], "nothing") is None


def test_a_process_tells_its_threads() -> None:
    ended = threading.Event()
    other = threading.Thread(target=ended.wait)
    other.start()
    try:
        assert len(threads.threads(os.getpid())) >= 2
    finally:
        ended.set()
        other.join()


def test_imports_are_summed_by_package_and_pythons_own_are_one() -> None:
    told = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:       100 |        100 |   asyncio.base_events\n"
        "import time:       200 |        300 | asyncio\n"
        "<6>daemon.ready status=ready\n"
        "import time:      4000 |       4000 |   sanic.app\n"
        "import time:      1000 |       5000 | sanic\n"
    )
    found = imports.by_package(told)
    assert found == {imports.STANDARD: (0.3, 2), "sanic": (5.0, 2)}
    shown = imports.table([found, {**found, "sanic": (7.0, 2)}])
    assert [list(row) for row in shown.rows] == [
        ["sanic", 6.0, 2],
        [imports.STANDARD, 0.3, 2],
        ["0 others", 0, 0],
        ["all", 6.3, 4],
    ]


def test_waking_is_judged_by_the_median_of_what_each_turn_found() -> None:
    woken = [
        Woken(first_token=ms, start_to_answer=1.0, start_to_ready=2.0, start_to_token=ms - 1) for ms in (300, 390, 900)
    ]
    started = [Started(to_healthy=200.0, first_token=300.0)] * 3
    shown = table(woken, started, model="x.gguf")
    assert list(shown.rows[0][1:]) == [390, 900, 1.3, "at most 1.3 × llama-server: met"]


def test_the_sleeper_becomes_the_program_with_the_socket_as_systemd_hands_it_over(tmp_path: Path) -> None:
    program = (
        "import os, socket; sock = socket.socket(fileno=3); one, _ = sock.accept();"
        "one.sendall(f\"{os.environ['LISTEN_FDS']} {os.environ['LISTEN_PID'] == str(os.getpid())}\".encode())"
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        argv = [sys.executable, "-m", "bench.asleep", str(listening.fileno()), sys.executable, "-c", program]
        with subprocess.Popen(argv, pass_fds=[listening.fileno()], stdout=subprocess.PIPE) as process:
            with socket.create_connection(listening.getsockname()) as asking:
                assert asking.recv(100) == b"1 True"
            told, _ = process.communicate(timeout=20)
    assert told.splitlines()[0] == b"asleep"
    assert int(told.splitlines()[1]) > 0


def test_libraries_are_told_apart_by_their_bytes(tmp_path: Path) -> None:
    (tmp_path / "libllama.so").write_bytes(b"one")
    one = Libraries.named(str(tmp_path))
    before = one.digest
    (tmp_path / "libllama.so").write_bytes(b"two")
    assert one.digest != before
    assert one.environ({"LD_LIBRARY_PATH": "/driver", "HOME": "/x"}) == {
        "LD_LIBRARY_PATH": f"{tmp_path}:/driver",
        "LLAMA_CPP_LIB_PATH": str(tmp_path),
    }
