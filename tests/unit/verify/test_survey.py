"""What the survey says of processes: those of this very machine."""

import os
import subprocess
import sys

from rbee.verify import survey


def test_a_process_that_runs_says_how_it_is_confined() -> None:
    found = survey.process(os.getpid(), ["a-token-that-nobody-has"])
    assert found is not None
    assert (found["pid"], found["uid"], found["token_in_environment"]) == (os.getpid(), os.getuid(), False)
    assert found["no_new_privs"] in ("0", "1")
    assert len(found["capabilities"]) == 16
    assert found["mounts"].startswith("mnt:[")


def test_a_process_that_has_ended_is_none_whether_it_was_waited_for_or_not() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        assert survey.process(ended.pid, []) is None, "a zombie"
    assert survey.process(ended.pid, []) is None
