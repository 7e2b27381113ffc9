"""What the survey says of processes: those of this very machine."""

import os
import subprocess
import sys
from pathlib import Path

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


def test_where_a_wrapper_knows_the_packages_they_are_its_own(tmp_path: Path) -> None:
    program, hidden = tmp_path / "rbee-hive", tmp_path / ".rbee-hive-wrapped"
    program.write_text("#!/bin/sh\nexec false\n")
    assert survey.packages(str(program)) == []
    hidden.write_text(
        "#!/store/python/bin/python3\nimport functools;import site;"
        "functools.reduce(lambda k, p: site.addsitedir(p, k), "
        "['/store/rbee/lib/python3.13/site-packages','/store/sanic/lib/python3.13/site-packages'], set())\n"
    )
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/rbee-hive").symlink_to(program)
    found = ["/store/rbee/lib/python3.13/site-packages", "/store/sanic/lib/python3.13/site-packages"]
    assert survey.packages(str(tmp_path / "bin/rbee-hive")) == found
