"""Completions as a shell uses them: bash itself is asked, for every command and word of it."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from rbee.hive import main as hive
from rbee.keeper import main as keeper
from tools.usage import Usage, read

COMPLETIONS = Path(__file__).parents[2] / "etc" / "completions"
CLIS = [(name, read(module.USAGE)) for module, name in ((hive, "rbee-hive"), (keeper, "rbee-keeper"), (keeper, "rbee"))]


def offered(name: str, usage: Usage, *lines: tuple[str, ...]) -> list[set[str]]:
    """Return what bash offers for the last word of each line."""
    function = "_" + usage.program.replace("-", "_")
    script = f"source {COMPLETIONS / name}.bash\n" + "".join(
        f'COMP_WORDS=({shlex.join((name, *words))}); COMP_CWORD={len(words)}; {function}; echo "${{COMPREPLY[*]}}"\n'
        for words in lines
    )
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True)
    return [set(line.split()) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(("name", "usage"), CLIS, ids=[name for name, _ in CLIS])
def test_every_word_of_every_command_is_offered_after_the_words_before_it(name: str, usage: Usage) -> None:
    wanted = [(command[:n], word) for command in usage.commands for n, word in enumerate(command)]
    answers = offered(name, usage, *[(*before, "") for before, _ in wanted])
    for (before, word), answer in zip(wanted, answers, strict=True):
        assert word in answer, (*before, word)


@pytest.mark.parametrize(("name", "usage"), CLIS, ids=[name for name, _ in CLIS])
def test_every_option_is_offered_once_a_dash_is_typed(name: str, usage: Usage) -> None:
    (answer,) = offered(name, usage, (*usage.commands[0], "--"))
    assert answer == {each for option in usage.options for each in option.names if each.startswith("--")}


@pytest.mark.parametrize(("name", "usage"), CLIS, ids=[name for name, _ in CLIS])
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_know_the_same_words(shell: str, name: str, usage: Usage) -> None:
    file = COMPLETIONS / (f"{name}.fish" if shell == "fish" else f"_{usage.program}")
    words = set(re.findall(r"[a-z][a-z-]*[a-z]", file.read_text()))
    assert {word for command in usage.commands for word in command} <= words
    assert {each[2:] for option in usage.options for each in option.names if each.startswith("--")} <= words
