import errno
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rbee.adapters.toml_file import change
from rbee.errors import ConfigInvalid, InsufficientDisk, NotPermitted

MINE = """\
# how my house is
[keeper]
queen = "http://a:1"  # the queen

[hosts.mac] # upstairs
ssh = "mac"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "rbee.toml"
    made.write_text(MINE)
    return made


def test_comments_and_order_stay(file: Path) -> None:
    assert change(file, {("hosts", "attic", "ssh"): "root@attic", ("keeper", "queen"): "http://b:2"}) == [
        "hosts.attic.ssh",
        "keeper.queen",
    ]
    text = file.read_text()
    assert text.startswith('# how my house is\n[keeper]\nqueen = "http://b:2"  # the queen\n')
    assert "[hosts.mac] # upstairs" in text
    assert '[hosts.attic]\nssh = "root@attic"' in text


def test_many_at_once_lose_nothing_of_each_other(file: Path) -> None:
    code = "import sys; from pathlib import Path; from rbee.adapters.toml_file import change; \
        [change(Path(sys.argv[1]), {('hosts', f'{sys.argv[2]}-{n}', 'ssh'): 'x'}) for n in range(10)]"
    at_once = [subprocess.Popen([sys.executable, "-c", code, str(file), name]) for name in "abcd"]
    assert [each.wait(60) for each in at_once] == [0] * 4
    hosts = tomllib.loads(file.read_text())["hosts"]
    assert hosts.keys() == {"mac", *(f"{name}-{n}" for name in "abcd" for n in range(10))}


def test_a_full_disk_leaves_the_old_file_and_is_said(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)  # FAKE: a disk that is full when it counts
    with pytest.raises(InsufficientDisk, match="no space left on device") as raised:
        change(file, {("hosts", "attic", "ssh"): "root@attic"})
    assert raised.value.hint.startswith(f"df -h {file.parent}")
    assert (file.read_text(), [*file.parent.iterdir()]) == (MINE, [file])


def test_what_is_so_already_is_not_written(file: Path) -> None:
    before = file.stat().st_mtime_ns, file.stat().st_ino
    assert change(file, {("hosts", "mac", "ssh"): "mac", ("hosts", "attic"): None}) == []
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == before


@pytest.mark.parametrize(
    ("before", "changes", "after"),
    [
        (
            '[hosts.mac]\nssh = "a"\n\n# two GPUs\n[hosts.workstation]\nssh = "b"\n',
            {("hosts", "mac"): None},
            '\n# two GPUs\n[hosts.workstation]\nssh = "b"\n',
        ),
        (
            'hosts.mac.pool = "a"\nkeeper.queen = "x"\n',
            {("hosts", "blep", "pool"): "c"},
            'hosts.mac.pool = "a"\nkeeper.queen = "x"\n\n[hosts.blep]\npool = "c"\n',
        ),
        ('[pool]\r\nid = "a"\r\n', {("pool", "id"): "b"}, '[pool]\r\nid = "b"\r\n'),
        ('[a]\nx = 1\n[hosts."mac"]\nssh = "a"\n[b]\n', {("hosts", "mac"): None}, "[a]\nx = 1\n[b]\n"),
    ],
    ids=["the next one's comment", "dotted keys", "ends of lines", "quoted"],
)
def test_it_stays_as_its_owner_wrote_it(
    file: Path, before: str, changes: dict[tuple[str, ...], str | None], after: str
) -> None:
    file.write_bytes(before.encode())
    change(file, changes)
    assert file.read_bytes().decode() == after


def test_what_cannot_be_changed_alone_is_left_alone(file: Path) -> None:
    file.write_text(before := 'hosts = { mac = { pool = "a" } }\n')
    with pytest.raises(ConfigInvalid, match=r"hosts\.blep\.pool cannot be changed without") as raised:
        change(file, {("hosts", "blep", "pool"): "c"})
    assert (file.read_text(), raised.value.hint) == (before, "write it as a table, [hosts.blep], and try again")


def test_a_table_can_go(file: Path) -> None:
    assert change(file, {("hosts", "mac"): None}) == ["hosts.mac"]
    assert "mac" not in file.read_text()
    assert "# how my house is" in file.read_text()


def test_a_file_that_is_not_there_is_made(tmp_path: Path) -> None:
    change(tmp_path / "new/rbee.toml", {("pool", "url"): "http://a:1"})
    assert (tmp_path / "new/rbee.toml").read_text() == '[pool]\nurl = "http://a:1"\n'


def test_a_link_is_followed_and_the_mode_stays(file: Path, tmp_path: Path) -> None:
    file.chmod(0o640)
    link = tmp_path / "link.toml"
    link.symlink_to(file)
    change(link, {("pool", "id"): "mac"})
    assert link.is_symlink()
    assert (file.stat().st_mode & 0o777, 'id = "mac"' in file.read_text()) == (0o640, True)


def test_what_is_no_toml_is_left_alone(file: Path) -> None:
    file.write_text("nonsense [")
    with pytest.raises(ConfigInvalid, match="is not TOML"):
        change(file, {("pool", "id"): "mac"})
    assert file.read_text() == "nonsense ["


def test_what_may_not_be_written_is_said(tmp_path: Path) -> None:
    folder = Path("/sys") if os.geteuid() == 0 else tmp_path  # where not even root makes files
    if folder == tmp_path:
        folder.chmod(0o500)
    with pytest.raises(NotPermitted):
        change(folder / "rbee.toml", {("pool", "id"): "mac"})
