import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbee.adapters.ssh import command
from tests.rig.waiting import PATIENCE

SHELLS = [shell for shell in ("sh", "bash", "dash", "zsh", "fish") if shutil.which(shell)]
NASTY = [
    "",
    " ",
    "$(id)",
    "`id`",
    "a'b",
    'a"b',
    "a\\b",
    "\\'",
    "*",
    "~root",
    "!x",
    "a;b",
    "-n",
    "a\nb",
    "ü",
    "$HOME",
    "#x",
]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_argument_arrives_as_it_is(shell: str) -> None:
    line = " ".join(map(command.quoted, ["printf", "%s\\0", *NASTY]))
    done = subprocess.run([shell, "-c", line], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == NASTY


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20))
def test_whatever_it_is(word: str) -> None:
    done = subprocess.run(["sh", "-c", f"printf %s {command.quoted(word)}"], capture_output=True, check=True)
    assert done.stdout.decode() == word


def test_the_script_passes_them_on() -> None:
    line = command.line(["printf", "%s|", *NASTY])
    with subprocess.Popen(["sh", "-c", line], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read().decode() == "|".join(NASTY) + "|"


def test_a_missing_program_is_named() -> None:
    done = subprocess.run(["sh", "-c", command.line(["no such"])], capture_output=True, check=False)
    assert (done.returncode, done.stderr.decode()) == (127, f"{command.NO_PROGRAM}no such\n")


def test_the_exit_status_is_the_commands() -> None:
    line = command.line(["sh", "-c", "exit 42"])
    with subprocess.Popen(["sh", "-c", line], stdin=subprocess.PIPE) as process:
        assert process.wait(10 * PATIENCE) == 42
