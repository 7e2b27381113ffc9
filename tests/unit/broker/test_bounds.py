"""Which files the broker lets workers read: those that root declares, and not what others make of their names."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rbee.broker import bounds, requests
from rbee.broker.bounds import bounds_of, real_files
from rbee.config import Model, Settings
from rbee.errors import ModelNotFound, NotPermitted
from rbee.pool_core.ports import HoldPlan
from tests.unit.broker.test_requests import wish

NOBODY = 65_534
ME = os.getuid()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A folder of files and of folders with links to them, as Nix makes them."""
    for name in ("a-chat-00001-of-00002.gguf", "b-chat-00002-of-00002.gguf", "other.gguf", "shadow"):
        (tmp_path / name).write_text("GGUF")
    farm = tmp_path / "farm"
    farm.mkdir()
    (farm / "chat-00001-of-00002.gguf").symlink_to(tmp_path / "a-chat-00001-of-00002.gguf")
    (farm / "chat-00002-of-00002.gguf").symlink_to("../b-chat-00002-of-00002.gguf")
    (farm / "beside.gguf").symlink_to(tmp_path / "shadow")
    return tmp_path


def allowed(path: Path | str, wanted: Path | str, *, distrusted: int = NOBODY) -> tuple[str, ...]:
    settings = Settings(models={"chat": Model(path=str(path))})
    held = requests.HoldWish(model="chat", model_paths=(str(wanted),))
    plan: HoldPlan = requests.hold_of(held, bounds_of(settings, distrusted=distrusted))
    return plan.model_paths


def test_a_declared_file_is_allowed_and_the_one_beside_it_is_not(store: Path) -> None:
    assert allowed(store / "other.gguf", store / "other.gguf") == (str(store / "other.gguf"),)
    for wanted in (store / "shadow", store, store / "farm", "/etc/shadow", store / "other.gguf/../shadow"):
        with pytest.raises((NotPermitted, ModelNotFound)):
            allowed(store / "other.gguf", wanted)


def test_a_worker_gets_it_by_any_of_its_names(store: Path) -> None:
    settings = Settings(models={"chat": Model(path=str(store / "other.gguf"))})
    read = requests.read(_line(wish(store, model_paths=[f"{store}/farm/../other.gguf"])))
    assert read.plan is not None
    plan = requests.plan_of(read.plan, bounds_of(settings, distrusted=NOBODY))
    assert plan.model_paths == (f"{store}/other.gguf",)


def test_all_parts_behind_links_are_allowed_and_nothing_else_there(store: Path) -> None:
    declared = store / "farm/chat-00001-of-00002.gguf"
    for part in ("a-chat-00001-of-00002.gguf", "b-chat-00002-of-00002.gguf"):
        assert allowed(declared, store / part) == (str(store / part),)
    assert allowed(declared, store / "farm/chat-00002-of-00002.gguf") == (str(store / "b-chat-00002-of-00002.gguf"),)
    for wanted in ("farm/beside.gguf", "shadow", "other.gguf"):
        with pytest.raises(NotPermitted, match="under no model root, and is no file that rbee.toml declares"):
            allowed(declared, store / wanted)


def test_a_link_that_changes_takes_its_target_along_and_leaves_the_old_one(store: Path) -> None:
    current = store / "current.gguf"
    current.symlink_to("other.gguf")
    assert allowed(current, store / "other.gguf")
    current.unlink()
    current.symlink_to("a-chat-00001-of-00002.gguf")
    assert allowed(current, current)
    with pytest.raises(NotPermitted):
        allowed(current, store / "other.gguf")


Lay = Callable[[Path], Path]


@pytest.mark.parametrize(
    "lay",
    [
        lambda store: _link(store / "mine.gguf", store / "shadow"),
        lambda store: _link(store / "way", store) / "shadow",
        lambda store: _link(store / "first.gguf", _link(store / "second.gguf", store / "shadow")),
    ],
    ids=["the file", "a folder on the way", "behind another link"],
)
def test_who_asks_cannot_lay_a_declared_name_elsewhere(store: Path, lay: Lay) -> None:
    declared = lay(store)
    assert allowed(declared, store / "shadow") == (str(store / "shadow"),), "root's own link is root's word"
    with pytest.raises(NotPermitted):
        allowed(declared, store / "shadow", distrusted=ME)


def test_names_that_lead_nowhere_are_no_files(store: Path) -> None:
    loop = _link(store / "loop.gguf", store / "loop.gguf")
    names = [str(loop), str(store / "none.gguf"), str(store / "other.gguf/below.gguf"), str(store / "shadow")]
    assert list(real_files(names, NOBODY)) == [store / "shadow"]


def test_what_is_followed_is_what_the_kernel_follows(store: Path) -> None:
    names = ["farm/chat-00002-of-00002.gguf", "farm/../farm/beside.gguf", "./other.gguf", "way/farm/../other.gguf"]
    _link(store / "way", Path("farm/.."))
    paths = [f"{store}/{name}" for name in names]
    assert [str(path) for path in real_files(paths, NOBODY)] == list(map(os.path.realpath, paths))
    assert len(list(real_files(["/" + "x/../" * bounds.MOST_STEPS + "x"], NOBODY))) == 0


def _link(path: Path, target: Path) -> Path:
    path.symlink_to(target)
    return path


def _line(plan: dict[str, Any]) -> bytes:
    return requests.codec.dump_json({"op": "start", "plan": plan}).encode()
