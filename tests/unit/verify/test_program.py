"""python -m rbee.verify, where there is no host to ask."""

import subprocess
import sys

import pytest

from rbee.verify import __main__ as program


@pytest.mark.parametrize("where", ["-oProxyCommand=touch", "a b", "a;reboot", "root@host?sudo=true", "a/b", ""])
def test_what_is_no_host_is_refused_before_anything_runs(where: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--host=mac", f"--ssh={where}"]) == 64
    said = capsys.readouterr()
    assert said.out == ""
    assert "--ssh is" in said.err


@pytest.mark.parametrize(
    "argv",
    [[], ["--host=mac"], ["--host=mac", "--ssh=mac", "--format=xml"], ["--host=a", "--ssh=a", "--ssh-config=/no"]],
)
def test_bad_usage_is_64(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(argv) == 64
    assert capsys.readouterr().err


@pytest.mark.parametrize("where", ["mac", "root@mac.home.arpa", "root@mac:2222", "root@10.77.0.2", "root@[fe80::1]:22"])
def test_what_ssh_takes_is_taken(where: str) -> None:
    assert program.is_place(where)


def test_nobody_who_imports_the_package_gets_pytest_with_it() -> None:
    code = (
        "import sys, rbee.verify, rbee.verify.report; sys.exit('pytest' in sys.modules or 'testinfra' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
