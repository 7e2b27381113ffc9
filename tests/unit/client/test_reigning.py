"""Of several queens whoever reigns is asked, and nothing is asked twice that may have been done."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from rbee.client.blocking import BlockingHttp, at_once
from rbee.client.endpoint import Endpoint
from rbee.client.http import HttpClient
from rbee.client.reigning import Reigning, addresses
from rbee.errors import NotFound, PoolUnreachable, RbeeError, Standby
from rbee.wire.sse import Frame
from tests.support.ports import free_port

CUT = PoolUnreachable("it hung up before its answer was whole", details={"sent": True})
AWAY = PoolUnreachable("nothing listens there", details={"refused": True})


class Queen(Endpoint):
    """A FAKE endpoint: says who it is, or what it was told to refuse with."""

    refusals: dict[str, RbeeError] = {}  # noqa: RUF012  (each test sets its own)
    asked: list[str] = []  # noqa: RUF012

    async def call(self, method: str, path: str, **_: Any) -> Any:
        self.asked.append(self.base_url)
        if self.base_url in self.refusals:
            raise self.refusals[self.base_url]
        return self.base_url

    async def stream(self, method: str, path: str, **_: Any) -> AsyncIterator[Frame]:
        yield Frame(event="token", data=await self.call(method, path))
        if error := self.refusals.get("later"):
            raise error


@pytest.fixture
def queens(monkeypatch: pytest.MonkeyPatch) -> Reigning:
    monkeypatch.setattr(Queen, "refusals", {})
    monkeypatch.setattr(Queen, "asked", [])
    return Reigning("http://a, http://b,http://c", Queen)


async def frames(queens: Reigning) -> list[str]:
    return [frame.data async for frame in queens.stream("GET", "/")]


def test_a_setting_may_name_several() -> None:
    assert addresses("http://a:1, http://b:2,http://c:3") == ("http://a:1", "http://b:2", "http://c:3")


@pytest.mark.parametrize("refusal", [Standby("b reigns"), AWAY])
async def test_who_does_not_reign_is_passed_over_and_not_asked_again(queens: Reigning, refusal: RbeeError) -> None:
    Queen.refusals["http://a"] = refusal
    assert await queens.call("POST", "/") == "http://b"
    assert await frames(queens) == ["http://b"]
    assert Queen.asked == ["http://a", "http://b", "http://b"]


async def test_the_first_is_asked_again_once_the_second_has_gone(queens: Reigning) -> None:
    Queen.refusals |= {"http://a": AWAY, "http://c": AWAY}
    await queens.call("GET", "/")
    Queen.refusals = {"http://b": AWAY, "http://c": AWAY}
    assert await queens.call("GET", "/") == "http://a"


@pytest.mark.parametrize("error", [CUT, NotFound("no such job")])
async def test_what_may_have_been_done_is_not_asked_of_another(queens: Reigning, error: RbeeError) -> None:
    Queen.refusals["http://a"] = error
    with pytest.raises(type(error)):
        await queens.call("POST", "/")
    with pytest.raises(type(error)):
        await frames(queens)
    assert Queen.asked == ["http://a", "http://a"]


async def test_where_none_reigns_that_is_said(queens: Reigning) -> None:
    Queen.refusals |= {"http://a": AWAY, "http://b": Standby("this queen stands by"), "http://c": AWAY}
    with pytest.raises(Standby, match="this queen stands by"):
        await queens.call("GET", "/")
    with pytest.raises(RbeeError):
        await frames(queens)


async def test_a_stream_that_was_begun_is_not_begun_again(queens: Reigning) -> None:
    Queen.refusals["later"] = AWAY
    with pytest.raises(PoolUnreachable):
        await frames(queens)
    assert Queen.asked == ["http://a"]


def test_a_port_where_nothing_listens_is_no_sent_question() -> None:
    one, other = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    with pytest.raises(PoolUnreachable, match=f"at {one} cannot be reached: nothing listens there"):
        at_once(Reigning(f"{one},{other}", BlockingHttp).call("GET", "/"))


async def test_the_same_by_the_other_library() -> None:
    one, other = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    async with Reigning(f"{one},{other}", HttpClient) as http:
        with pytest.raises(PoolUnreachable, match=f"at {one} cannot be reached: nothing listens there"):
            await http.call("GET", "/")
