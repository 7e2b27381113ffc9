"""The checkout of another host, over ssh: a real clone with a submodule, as its owner has it."""

import pytest

from tests.fleet.house import CONFIG, House
from tests.rig.host import Host
from tests.rig.waiting import wait_for

MAKE = """
set -e
export GIT_AUTHOR_NAME=Ann GIT_AUTHOR_EMAIL=ann@home GIT_COMMITTER_NAME=Ann GIT_COMMITTER_EMAIL=ann@home
git config --system protocol.file.allow always
git config --system safe.directory '*'
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


@pytest.mark.parametrize("owner", ["rbee", "ann", "4321"])
def test_a_checkout_is_worked_in_as_who_owns_it(house: House, mac: Host, owner: str) -> None:
    mac.run(["bash", "-c", "id ann || useradd --create-home --shell /bin/bash ann"])
    mac.run(["chown", "-R", owner, "/srv/house"])
    try:
        after = push(mac, f"For {owner}")
        assert f"For {owner}" in house.rbee("pool", "git", "pull", "--host", "mac").stdout
        mac.write("/srv/house/flake.nix", "mine\n")
        assert "discarded" in house.rbee("pool", "git", "sync", "--host", "mac", "--yes").stdout
        assert house.rbee_json("pool", "git", "status", "--host", "mac")[0]["result"]["commit"] == after
        name = mac.run(["stat", "-c", "%U", "/srv/house"]).stdout.strip()
        assert mac.run(["find", "/srv/house", "!", "-user", owner, "!", "-name", name]).stdout == ""
    finally:
        mac.run(["chown", "-R", "root", "/srv/house"])


def test_the_daemons_sandbox_is_told_from_a_disk_that_cannot_be_written(house: House, mac: Host) -> None:
    mac.run(["chown", "-R", "rbee", "/srv/house"])
    try:
        push(mac, "Out of reach")
        reloads = mac.journal("-u", "rbee-pool").count("config.reloaded")
        mac.run(["systemctl", "reload", "rbee-pool"])
        wait_for(lambda: mac.journal("-u", "rbee-pool").count("config.reloaded") > reloads, "the pool to reload")
        refused = mac.run(["rbee-hive", "git", "sync", "--yes", "--http"], check=False)
        assert refused.returncode == 77, refused.stderr
        assert (
            "hint: sudo rbee-hive git sync --yes; if that says the same: findmnt --target /srv/house" in refused.stderr
        )
    finally:
        mac.run(["chown", "-R", "root", "/srv/house"])
