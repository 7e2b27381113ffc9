"""The checkout's own ``.venv``: rbee editable, with all that tests need. Updated only when setup.cfg's lists change."""

import venv
from collections.abc import Sequence
from pathlib import Path

from tools import dependencies, wheels
from tools.run import CHECKOUT, main, run, say

VENV = CHECKOUT / ".venv"
EXTRAS = ("worker", "test")


def update(_: Sequence[str] = ()) -> None:
    """Make ``.venv`` what setup.cfg asks for, and compile rbee, which tests start some thousand times."""
    _install()
    run([VENV / "bin" / "python", "-m", "compileall", "-q", CHECKOUT / "rbee"])


def _install() -> None:
    stamp = VENV / "rbee-stamp"
    wanted = dependencies.fingerprint(*EXTRAS)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    python = VENV / "bin" / "python"
    if not python.exists():
        say(f"making {VENV}")
        venv.create(VENV, with_pip=True, symlinks=True)
    say("installing what rbee and its tests need (a minute the first time)")
    links = wheels.ensure(python)
    pip: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--find-links",
        links,
    ]
    run([*pip, "--editable", f"{CHECKOUT}[{','.join(EXTRAS)}]"], quiet=True)
    run([*pip, "--no-deps", dependencies.MODEL], quiet=True)
    stamp.write_text(wanted)


if __name__ == "__main__":
    main(update)
