"""What logind tells is told on, also what it told nobody. FAKE: logind, by what ``greeting`` returns and is told."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from rbee.adapters.systemd import greeting, logind
from rbee.adapters.systemd.greeting import Greeting
from rbee.adapters.systemd.logind import Logind, Power
from rbee.errors import NoManager, Timeout
from tests.rig.waiting import PATIENCE

Answer = Greeting | Timeout
AGAIN = (b"NameOwnerChanged", [logind.LOGIND.name, b"", b":1.7"])
GONE = (b"NameOwnerChanged", [logind.LOGIND.name, b":1.3", b""])
ANOTHER = (b"NameOwnerChanged", [b":1.9", b"", b":1.9"])


class Told:
    """The events of a logind that answers ``answers``, one after the other, the last one from then on."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[Sequence[str]] = []
        self.heard: asyncio.Queue[logind.Told | NoManager] = asyncio.Queue()
        self.came: asyncio.Queue[Power] = asyncio.Queue()
        self.logind = Logind()
        self.running: asyncio.Future[None] = asyncio.Future()

    async def greet(self, kinds: Sequence[str], properties: Sequence[str]) -> Greeting:
        self.asked.append(kinds)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Timeout):
            raise answer
        return answer._replace(locks={kind: os.open("/dev/null", os.O_RDONLY) for kind in kinds})

    async def run(self) -> None:
        async for power in self.logind._told(self.heard):
            self.came.put_nowait(power)

    async def next(self) -> Power:
        return await asyncio.wait_for(self.came.get(), 10 * PATIENCE)


Listening = Callable[..., "contextlib.AbstractAsyncContextManager[Told]"]


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Listening:
    @contextlib.asynccontextmanager
    async def listen(*answers: Answer) -> AsyncIterator[Told]:
        told = Told(*answers)
        monkeypatch.setattr(greeting, "greet", told.greet)
        told.running = asyncio.create_task(told.run())
        yield told
        told.running.cancel()
        await asyncio.wait({told.running})
        told.logind.release()

    return listen


def says(*coming: str, delay_s: float | None = 3.0, trouble: str | None = None) -> Greeting:
    return Greeting(locks={}, trouble=trouble, delay_s=delay_s, coming=frozenset(coming))


async def test_what_has_begun_already_is_told_and_how_long_it_waits(listening: Listening) -> None:
    async with listening(says("PreparingForSleep")) as told:
        assert await told.next() is Power.SLEEPS
        assert told.logind.delay_s == 3.0
        assert told.asked == [["shutdown", "sleep"]]


@pytest.mark.parametrize(
    ("member", "began", "over"),
    [(b"PrepareForSleep", Power.SLEEPS, Power.AWAKE), (b"PrepareForShutdown", Power.OFF, Power.STAYS_ON)],
)
async def test_what_ended_while_it_was_away_is_told_as_over(
    listening: Listening, member: bytes, began: Power, over: Power
) -> None:
    async with listening(says()) as told:
        told.heard.put_nowait((member, True))
        assert await told.next() is began
        for one in (GONE, AGAIN, AGAIN):
            told.heard.put_nowait(one)
        assert await told.next() is over
        told.heard.put_nowait((member, True))
        assert await told.next() is began, "and once only"


async def test_one_that_does_not_say_ends_nothing(listening: Listening) -> None:
    async with listening(says(), says(delay_s=None, trouble="access denied"), says()) as told:
        told.heard.put_nowait((b"PrepareForSleep", True))
        assert await told.next() is Power.SLEEPS
        told.heard.put_nowait(AGAIN)
        told.heard.put_nowait(AGAIN)
        assert await told.next() is Power.AWAKE
        assert len(told.asked) == 3


async def test_the_locks_that_were_given_back_are_taken_again_when_it_is_over(listening: Listening) -> None:
    async with listening(says()) as told:
        told.heard.put_nowait((b"PrepareForSleep", True))
        await told.next()
        told.logind.go_ahead(Power.SLEEPS)
        told.heard.put_nowait((b"PrepareForSleep", False))
        assert await told.next() is Power.AWAKE
        assert told.asked == [["shutdown", "sleep"], ["sleep"]]


async def test_one_that_hangs_is_asked_again_however_much_others_come_and_go(
    listening: Listening, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logind, "GREET_AGAIN_S", 0.2)
    late = Timeout("logind did not answer within 5 s")
    async with listening(late, late, says("PreparingForShutdown")) as told:
        coming = asyncio.create_task(told.next())
        while not coming.done():
            told.heard.put_nowait(ANOTHER)
            await asyncio.sleep(0.01)
        assert coming.result() is Power.OFF
        assert len(told.asked) == 3
    said = capsys.readouterr().err
    assert said.count("logind.no_lock") == 1, "however often"
    assert said.count("logind.locked") == 1


async def test_a_bus_that_is_lost_ends_it(listening: Listening) -> None:
    async with listening(says()) as told:
        told.heard.put_nowait(NoManager("gone"))
        with pytest.raises(NoManager):
            await asyncio.wait_for(told.running, 10 * PATIENCE)
