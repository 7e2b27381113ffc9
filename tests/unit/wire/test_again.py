"""What was said before is not read anew, and what is new is."""

import dataclasses
from typing import Any

import pytest

from rbee.errors import InvalidRequest
from rbee.wire import codec
from rbee.wire.again import Again
from rbee.wire.pools import PoolSnapshot
from tests.unit.orchestrator_core.snapshots import cuda, device, need, snapshot

FIRST = snapshot("blep", cuda(1), models=("tiny", "big"), devices=(device(0),), needs=(need(),))


def plain(said: PoolSnapshot) -> dict[str, Any]:
    value: dict[str, Any] = codec.parse_text(codec.dump_json(said))
    return value


@pytest.fixture
def heard() -> Again[PoolSnapshot]:
    return Again(PoolSnapshot, frozenset({"models", "needs"}))


def test_the_same_models_are_the_same_object(heard: Again[PoolSnapshot]) -> None:
    first = heard.read("blep", plain(FIRST))
    second = heard.read("blep", plain(dataclasses.replace(FIRST, at_ms=2000)))
    assert second == dataclasses.replace(FIRST, at_ms=2000)
    assert second.models is first.models and second.needs is first.needs


def test_what_changed_is_read(heard: Again[PoolSnapshot]) -> None:
    heard.read("blep", plain(FIRST))
    changed = snapshot("blep", models=("tiny",))
    assert heard.read("blep", plain(changed)) == changed


def test_each_sender_is_compared_with_itself(heard: Again[PoolSnapshot]) -> None:
    first = heard.read("blep", plain(FIRST))
    other = heard.read("mac", plain(dataclasses.replace(FIRST, id="mac")))
    assert other.models == first.models and other.models is not first.models
    heard.forget("blep")
    assert heard.read("blep", plain(FIRST)).models is not first.models


@pytest.mark.parametrize(
    ("spoilt", "named"),
    [({"at_ms": -1}, "at_ms"), ({"models": [{}]}, "models[0].id"), ({"host": None}, "host")],
)
def test_what_is_wrong_is_named_also_the_second_time(
    heard: Again[PoolSnapshot], spoilt: dict[str, Any], named: str
) -> None:
    heard.read("blep", plain(FIRST))
    with pytest.raises(InvalidRequest) as wrong:
        heard.read("blep", plain(FIRST) | spoilt)
    assert named in [each["field"] for each in wrong.value.details["fields"]]
    missing = {key: value for key, value in plain(FIRST).items() if key != "url"}
    with pytest.raises(InvalidRequest, match="url: is missing"):
        heard.read("blep", missing)
    assert heard.read("blep", plain(FIRST)) == FIRST


def test_what_a_newer_sender_says_beyond_what_is_known_is_passed_over(heard: Again[PoolSnapshot]) -> None:
    said = plain(FIRST)
    newer = said | {"novel": 1, "host": said["host"] | {"novel": {}}, "models": [said["models"][0] | {"novel": []}]}
    known = dataclasses.replace(FIRST, models=FIRST.models[:1])
    assert heard.read("blep", newer) == known
    assert heard.read("blep", newer | {"at_ms": 2000}) == dataclasses.replace(known, at_ms=2000)


@pytest.mark.parametrize("said", [[], None, "x", 3])
def test_what_is_no_object_is_refused(heard: Again[PoolSnapshot], said: Any) -> None:
    heard.read("blep", plain(FIRST))
    with pytest.raises(InvalidRequest, match="expected an object"):
        heard.read("blep", said)
