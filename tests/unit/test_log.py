import socket
import struct

import pytest

from rbee import log


def test_a_line_says_what_happened_and_the_facts(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("test", worker="w1")
    log.warning("pool.lost", pool="mac", after_s=15.25, jobs=None, ok=True)
    assert capsys.readouterr().err == "<4>pool.lost worker=w1 pool=mac after_s=15.25 ok=yes\n"


def test_nothing_breaks_out_of_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("test")
    log.event("request.failed", path='/a b\n<3>fake "x"')
    out = capsys.readouterr().err
    assert out.count("\n") == 1
    assert 'path="/a b\\n<3>fake \\"x\\""' in out


def test_debug_is_quiet_until_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("test")
    log.debug("a.b")
    assert capsys.readouterr().err == ""


def test_the_journal_gets_fields_and_a_value_of_two_lines_keeps_them() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with near, far:
        assert log._send(near, "job.started job=j1", log.INFO, {"job": "j1", "note": "a\nb"})
        data = far.recv(4096)
    assert b"MESSAGE=job.started job=j1\n" in data
    assert b"JOB=j1\n" in data
    assert b"NOTE\n" + struct.pack("<Q", 3) + b"a\nb\n" in data
