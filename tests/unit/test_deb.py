"""What the Debian package is made of, and that it and make install do not hide each other."""

import re
from pathlib import Path

import pytest

from rbee import __version__
from tools import deb, files, install, layout
from tools.run import CHECKOUT, ToolError


def test_its_changelog_begins_with_rbees_version() -> None:
    assert (CHECKOUT / "debian/changelog").read_text().startswith(f"rbee ({__version__}) ")


def test_it_is_not_built_of_another_version_than_its_changelog_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (("debian/changelog", "rbee (0.3) unstable\n"), ("rbee/__init__.py", '__version__ = "0.4"\n')):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(deb, "CHECKOUT", tmp_path)
    with pytest.raises(ToolError, match=r"begins with version 0\.3 and rbee is 0\.4"):
        deb.build()


def test_its_files_lie_where_debian_wants_them_and_name_its_own_places(tmp_path: Path) -> None:
    texts = files.texts(layout.deb(Path("/lib/systemd/system"), tmp_path))
    assert "ExecStart=/opt/rbee/bin/queen-rbee\n" in texts[Path("/lib/systemd/system/rbee-queen.service")]
    assert "/usr/share/rbee/policies/" in texts[Path("/usr/share/rbee/policies/cool-gpus.star")]
    assert Path("/usr/share/zsh/vendor-completions/_rbee-hive") in texts
    assert not [path for path, text in texts.items() if "/usr/local/lib/rbee" in text]


def test_its_sockets_are_all_that_there_are() -> None:
    """debian/rules names them; a socket that is new has to be named there."""
    rules = (CHECKOUT / "debian/rules").read_text()
    named = re.search(r"dh_installsystemd .*", rules)
    assert named is not None
    assert {word for word in named[0].split() if word.endswith(".socket")} == {
        unit.name for unit in (CHECKOUT / "units/system").glob("*.socket")
    }


def test_make_install_is_refused_where_it_is_installed(tmp_path: Path) -> None:
    program = tmp_path / "opt/rbee/bin/queen-rbee"
    program.parent.mkdir(parents=True)
    program.touch()
    with pytest.raises(ToolError, match="apt remove rbee"):
        install.install(layout.system(Path("/usr/local"), tmp_path))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [program]
