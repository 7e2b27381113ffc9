"""The host's checkout, against real repositories with a real submodule."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from rbee.adapters.git_checkout import GitCheckout, refusals
from rbee.adapters.git_checkout.reading import harmless, porcelain
from rbee.errors import Conflict, NotFound, NotPermitted, PoolUnreachable, RbeeError
from rbee.wire import codec
from rbee.wire.git import ChangeState, SubmoduleState
from tests.rig.waiting import PATIENCE
from tests.support.repositories import ENVIRONMENT, House, git, house


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    for key, value in ENVIRONMENT.items():
        monkeypatch.setenv(key, value)
    return house(tmp_path)


def checkout(home: House) -> GitCheckout:
    return GitCheckout(home.clone)


def state(home: House) -> tuple[str, str]:
    """Return what must not change when something is refused."""
    return git(home.clone, "rev-parse", "HEAD"), git(home.clone, "status", "--porcelain")


async def test_a_clean_checkout_says_where_it_is(home: House) -> None:
    found = await checkout(home).status()
    assert (found.branch, found.upstream, found.detached) == ("main", "origin/main", False)
    assert (found.remote, found.changes, found.ahead, found.behind) == (str(home.origin), (), 0, 0)
    assert [(module.id, module.state) for module in found.submodules] == [("lib", SubmoduleState.CURRENT)]


async def test_a_pull_brings_commits_and_says_which(home: House) -> None:
    before, after = state(home)[0], home.push(file="a b/ü.nix")
    update = await checkout(home).pull()
    assert (update.before, update.after) == (before, after)
    assert [(commit.id, commit.subject, commit.author) for commit in update.commits] == [(after, "A change", "Ann")]
    assert [(file.path, file.state) for file in update.files] == [("a b/ü.nix", ChangeState.ADDED)]
    assert (home.clone / "a b/ü.nix").read_text() == "new\n"


async def test_a_pull_of_nothing_is_nothing(home: House) -> None:
    update = await checkout(home).pull()
    assert update.before == update.after
    assert (update.commits, update.files, update.submodules) == ((), (), ())


async def test_submodules_move_with_it(home: House) -> None:
    home.push_lib()
    update = await checkout(home).pull()
    assert [(module.id, module.state) for module in update.submodules] == [("lib", SubmoduleState.CURRENT)]
    assert (home.clone / "lib/lib.nix").read_text() == "newer\n"


async def test_a_submodule_whose_url_moved_is_found_there(home: House, tmp_path: Path) -> None:
    home.push_lib()
    shutil.move(home.lib, tmp_path / "moved")
    git(home.author, "config", "-f", ".gitmodules", "submodule.lib.url", str(tmp_path / "moved"))
    home.push("note", "moved\n")
    await checkout(home).pull()
    assert (home.clone / "lib/lib.nix").read_text() == "newer\n"


async def test_a_commit_without_a_message_is_a_commit(home: House) -> None:
    before = state(home)[0]
    git(home.author, "commit", "-q", "--allow-empty", "--allow-empty-message", "-m", "")
    after = home.push(file="after.nix", subject="After it")
    git(home.author, "commit", "-q", "--allow-empty", "--allow-empty-message", "-m", "")
    git(home.author, "push", "-q")
    update = await checkout(home).pull()
    assert update.before == before
    assert [(commit.subject, commit.author) for commit in update.commits] == [
        ("", "Ann"),
        ("After it", "Ann"),
        ("", "Ann"),
    ]
    assert update.commits[1].id == after


async def test_what_is_left_of_a_submodule_that_upstream_removed_goes_with_a_sync(home: House) -> None:
    git(home.author, "rm", "-q", "lib")
    home.push()
    await checkout(home).pull()
    with pytest.raises(Conflict, match="would throw away changes in lib/"):
        await checkout(home).sync(discard=False)
    update = await checkout(home).sync(discard=True)
    assert [change.path for change in update.discarded] == ["lib/"]
    assert not (home.clone / "lib").exists()
    assert (await checkout(home).sync(discard=False)).discarded == ()


async def test_a_name_that_is_no_text_can_be_told(home: House) -> None:
    Path(os.fsdecode(os.fsencode(home.clone) + b"/\xff.txt")).touch()
    found = await checkout(home).status()
    assert [change.path for change in found.changes] == ["\N{REPLACEMENT CHARACTER}.txt"]
    codec.dump_json(found).encode()


@pytest.mark.parametrize("way", ["pull", "sync"])
async def test_a_clone_of_what_was_empty_then_gets_the_first_commits(home: House, tmp_path: Path, way: str) -> None:
    bare, clone = tmp_path / "new.git", tmp_path / "new"
    bare.mkdir()
    git(bare, "init", "-qb", "main", "--bare")
    git(tmp_path, "clone", "-q", str(bare), str(clone))
    empty = GitCheckout(clone)
    with pytest.raises(NotFound, match="is not at the remote"):
        await empty.pull()
    git(home.author, "push", "-q", str(bare), "main")
    update = await (empty.pull() if way == "pull" else empty.sync(discard=False))
    assert (update.before, update.after) == ("", git(home.author, "rev-parse", "HEAD"))
    assert [commit.subject for commit in update.commits] == ["The house"]
    assert "flake.nix" in [change.path for change in update.files]
    assert (clone / "lib/lib.nix").exists()


async def test_a_first_pull_that_fails_leaves_the_clone_empty(home: House, tmp_path: Path) -> None:
    clone = tmp_path / "new"
    git(home.author, "config", "-f", ".gitmodules", "submodule.lib.url", str(tmp_path / "nowhere"))
    home.push()
    clone.mkdir()
    git(clone, "init", "-qb", "main")
    git(clone, "remote", "add", "origin", str(home.origin))
    git(clone, "config", "branch.main.remote", "origin")
    git(clone, "config", "branch.main.merge", "refs/heads/main")
    with pytest.raises(RbeeError):
        await GitCheckout(clone).pull()
    found = await GitCheckout(clone).status()
    assert (found.commit, [change.path for change in found.changes]) == ("", [])


async def test_untracked_files_do_not_hinder_a_pull_unless_they_are_in_its_way(home: House) -> None:
    (home.clone / "notes.txt").write_text("mine\n")
    home.push()
    await checkout(home).pull()
    home.push(file="notes.txt", text="theirs\n")
    before = state(home)
    with pytest.raises(Conflict, match="would overwrite local files"):
        await checkout(home).pull()
    assert state(home) == before
    assert (home.clone / "notes.txt").read_text() == "mine\n"


async def test_a_dirty_tree_is_not_pulled_over(home: House) -> None:
    (home.clone / "flake.nix").write_text("mine\n")
    home.push()
    before = state(home)
    with pytest.raises(Conflict, match="local changes in flake.nix") as raised:
        await checkout(home).pull()
    assert "rbee-hive git sync --yes" in raised.value.hint
    assert state(home) == before


async def test_a_diverged_branch_is_counted(home: House) -> None:
    (home.clone / "mine").write_text("mine\n")
    git(home.clone, "add", "mine")
    git(home.clone, "commit", "-qm", "Mine")
    home.push()
    before = state(home)
    with pytest.raises(Conflict, match="diverged from origin/main: 1 commits ahead, 1 behind"):
        await checkout(home).pull()
    assert state(home) == before
    found = await checkout(home).status()
    assert (found.ahead, found.behind) == (1, 1)


async def test_a_sync_throws_away_only_when_told_to(home: House) -> None:
    (home.clone / "flake.nix").write_text("mine\n")
    (home.clone / "notes.txt").write_text("mine\n")
    (home.clone / "result").write_text("built\n")
    (home.clone / "lib/lib.nix").write_text("mine\n")
    git(home.clone, "commit", "-qm", "Mine", "flake.nix")
    after = home.push()
    before = state(home)
    with pytest.raises(Conflict, match=r"would throw away changes in lib, notes.txt and 1 local commit$"):
        await checkout(home).sync(discard=False)
    assert state(home) == before
    update = await checkout(home).sync(discard=True)
    assert update.after == after
    assert {change.path for change in update.discarded} == {"lib", "notes.txt"}
    assert not (home.clone / "notes.txt").exists()
    assert (home.clone / "result").read_text() == "built\n", "ignored files stay"
    assert (home.clone / "lib/lib.nix").read_text() == "lib\n"
    assert (home.clone / "flake.nix").read_text() == "new\n"


async def test_a_sync_without_anything_to_lose_needs_no_yes(home: House) -> None:
    after = home.push()
    assert (await checkout(home).sync(discard=False)).after == after


async def test_a_failing_submodule_leaves_the_checkout_as_it_was(home: House) -> None:
    home.push_lib()
    shutil.rmtree(home.lib)
    before = state(home)
    with pytest.raises(PoolUnreachable):
        await checkout(home).pull()
    assert state(home)[0] == before[0]


# Refusals


async def refused(home: House, kind: type[RbeeError], sentence: str) -> None:
    before = git(home.clone, "rev-parse", "HEAD")
    with pytest.raises(kind, match=sentence) as raised:
        await checkout(home).pull()
    assert raised.value.hint
    assert git(home.clone, "rev-parse", "HEAD") == before


async def test_a_detached_head(home: House) -> None:
    git(home.clone, "checkout", "-q", "--detach")
    await refused(home, Conflict, "on no branch")
    assert (await checkout(home).status()).detached


async def test_a_missing_remote(home: House) -> None:
    git(home.clone, "remote", "remove", "origin")
    await refused(home, Conflict, "has no remote to pull from")


async def test_a_branch_that_follows_nothing(home: House) -> None:
    git(home.clone, "switch", "-qc", "mine")
    await refused(home, Conflict, "branch mine in .* follows no branch of origin")


async def test_a_followed_branch_that_is_gone(home: House) -> None:
    git(home.author, "push", "-q", "origin", "main:other")
    git(home.clone, "fetch", "-q")
    git(home.clone, "switch", "-q", "other")
    git(home.author, "push", "-q", "origin", ":other")
    await refused(home, NotFound, "origin/other, which .* follows, is not at the remote")


async def test_a_remote_that_is_away(home: House) -> None:
    shutil.rmtree(home.origin)
    await refused(home, PoolUnreachable, "the remote of .* cannot be reached")


async def test_a_remote_that_refuses_connections(home: House) -> None:
    git(home.clone, "remote", "set-url", "origin", "http://127.0.0.1:1/house.git")
    await refused(home, PoolUnreachable, "cannot be reached")


async def test_another_git_at_work(home: House) -> None:
    home.push()
    (home.clone / ".git/index.lock").touch()
    await refused(home, Conflict, "another git is at work")


async def test_a_merge_in_progress(home: House) -> None:
    (home.clone / ".git/MERGE_HEAD").write_text(git(home.clone, "rev-parse", "HEAD"))
    await refused(home, Conflict, "in the middle of a merge")


async def test_somebody_elses_checkout(home: House) -> None:
    if os.geteuid() == 0:
        os.chown(home.clone, 65534, 65534)
        await refused_by_owner(home)
    else:
        assert isinstance(refusals.not_ours("/srv/house", "ann", "rbee", "rbee-hive git pull"), NotPermitted)


async def refused_by_owner(home: House) -> None:
    with pytest.raises(NotPermitted, match="belongs to nobody, and this runs as root") as raised:
        await checkout(home).status()
    assert raised.value.hint == "sudo rbee-hive git status"
    for discard, hint in ((False, "sudo rbee-hive git sync"), (True, "sudo rbee-hive git sync --yes")):
        with pytest.raises(NotPermitted) as raised:
            await checkout(home).sync(discard=discard)
        assert raised.value.hint == hint


async def test_no_checkout_at_all(tmp_path: Path, home: House) -> None:
    for path, sentence in ((None, "no checkout is configured"), (tmp_path / "no", "is no git checkout")):
        with pytest.raises(NotFound, match=sentence):
            await GitCheckout(path).status()
    with pytest.raises(Conflict, match="bare repository"):
        await GitCheckout(home.origin).status()


async def test_without_git(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(NotFound, match="git is not installed"):
        await checkout(home).status()


def test_credentials_in_a_url_are_not_shown() -> None:
    assert harmless("https://ann:secret@git.home.arpa:8443/h.git") == "https://git.home.arpa:8443/h.git"
    assert harmless("git@git.home.arpa:h.git") == "git@git.home.arpa:h.git"


def test_a_rename_takes_two_fields() -> None:
    text = "2 R. N... 100644 100644 100644 a b R100 new name\0old name\0? x\0"
    assert [(change.path, change.state) for change in porcelain(text)] == [
        ("new name", ChangeState.RENAMED),
        ("x", ChangeState.UNTRACKED),
    ]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("fatal: could not read Username for 'https://git': terminal prompts disabled", NotPermitted),
        ("git@git: Permission denied (publickey).\nfatal: Could not read from remote repository.", NotPermitted),
        ("fatal: detected dubious ownership in repository at '/srv/house'", NotPermitted),
        ("error: cannot open '.git/FETCH_HEAD': Read-only file system", NotPermitted),
        ("error: insufficient permission for adding an object to repository database .git/objects", NotPermitted),
        ("ssh: Could not resolve hostname git: Name or service not known", PoolUnreachable),
        ("fatal: something new", Conflict),
    ],
)
def test_gits_words_become_sentences(said: str, kind: type[RbeeError]) -> None:
    error = refusals.explained("/srv/house", said, asked="rbee-hive git pull")
    assert type(error) is kind
    assert error.hint


async def test_one_pull_at_a_time_and_a_slow_remote_holds_up_nothing_else(
    home: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = tmp_path / "waits"
    waits.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\nuntil [ -e {tmp_path}/go ]; do sleep 0.05; done\nexit 1\n")
    waits.chmod(0o755)
    git(home.clone, "remote", "set-url", "origin", f"ext::{waits}")
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "ext:file")
    one = checkout(home)
    pulling = asyncio.ensure_future(one.pull())
    async with asyncio.timeout(20 * PATIENCE):
        while not (tmp_path / "asked").exists():  # noqa: ASYNC110  (another program's file)
            await asyncio.sleep(0.02)
    with pytest.raises(Conflict, match="another pull or sync of .* is at work"):
        await one.sync(discard=True)
    assert (await one.status()).branch == "main"
    (tmp_path / "go").touch()
    with pytest.raises(RbeeError):
        await pulling
    git(home.clone, "remote", "set-url", "origin", str(home.origin))
    await one.pull()
