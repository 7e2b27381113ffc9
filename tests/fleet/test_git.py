"""The checkout of another host, over ssh: a real clone with a submodule, as its owner has it."""

import pytest

from tests.fleet.house import CONFIG, House
from tests.rig.host import Host

MAKE = """
set -e
export GIT_AUTHOR_NAME=Ann GIT_AUTHOR_EMAIL=ann@home GIT_COMMITTER_NAME=Ann GIT_COMMITTER_EMAIL=ann@home
git config --global protocol.file.allow always
mkdir -p /srv/git/lib; cd /srv/git/lib; git init -qb main; echo lib >lib.nix; git add -A; git commit -qm lib
git init -qb main --bare /srv/git/house.git
git clone -q /srv/git/house.git /srv/git/author 2>/dev/null; cd /srv/git/author; git switch -qc main
git submodule --quiet add /srv/git/lib lib; echo old >flake.nix; git add -A; git commit -qm house
git push -qu origin main
git clone -q --recurse-submodules /srv/git/house.git /srv/house
"""
PUSH = """
export GIT_AUTHOR_NAME=Ann GIT_AUTHOR_EMAIL=ann@home GIT_COMMITTER_NAME=Ann GIT_COMMITTER_EMAIL=ann@home
cd /srv/git/author; echo "$1" >flake.nix; git commit -qam "$1"; git push -q; git rev-parse HEAD
"""


@pytest.fixture(scope="module")
def mac(house: House) -> Host:
    """mac with a checkout at /srv/house, root's."""
    host = house.hosts["mac"]
    host.run(["bash", "-c", MAKE], env={"HOME": "/root"})
    host.write(CONFIG, '[pool]\nrepo = "/srv/house"\n')
    return host


def push(mac: Host, subject: str) -> str:
    return mac.run(["bash", "-c", PUSH, "bash", subject], env={"HOME": "/root"}).stdout.strip()


def test_a_pull_shows_what_changed(house: House, mac: Host) -> None:
    after = push(mac, "Warm the house")
    shown = house.rbee("pool", "git", "pull", "--host", "mac").stdout
    assert "Warm the house" in shown
    assert "modified   flake.nix" in shown
    [row] = house.rbee_json("pool", "git", "status", "--host", "mac")
    assert (row["result"]["commit"], row["result"]["changes"], row["result"]["branch"]) == (after, [], "main")
    assert "lib" in house.rbee("pool", "git", "submodules", "--host", "mac").stdout


def test_a_dirty_tree_is_named_and_a_sync_wants_yes(house: House, mac: Host) -> None:
    after = push(mac, "Cool it")
    mac.write("/srv/house/flake.nix", "mine\n")
    for verb in ("pull", "sync"):
        refused = house.rbee("pool", "git", verb, "--host", "mac", check=False)
        assert refused.returncode in (64, 73)
        assert "flake.nix" in refused.stderr or "--yes" in refused.stderr
        assert mac.read("/srv/house/flake.nix") == "mine\n"
    assert "thrown" not in house.rbee("pool", "git", "status", "--host", "mac").stdout
    done = house.rbee("pool", "git", "sync", "--host", "mac", "--yes").stdout
    assert "discarded" in done
    assert house.rbee_json("pool", "git", "status", "--host", "mac")[0]["result"]["commit"] == after


def test_a_host_without_a_checkout_says_so(house: House) -> None:
    done = house.rbee("pool", "git", "status", "--host", "workstation", check=False)
    assert (done.returncode, "no checkout is configured" in done.stderr) == (66, True)
