"""Somebody who wants answers from a queen that is killed again and again, and holds her to what she promises."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from rbee.client.http import HttpClient
from rbee.errors import PoolUnreachable, ShuttingDown, Timeout
from rbee.wire.events import End, JobEvent, Queued, Started, StopReason, Token, follow, last
from rbee.wire.jobs import JobSpec

AWAY = (PoolUnreachable, ShuttingDown, Timeout)
PROMPTS = ("Once upon a time", "abc", "The quick brown fox")
LENGTHS = (1, 40, 150, 400)
Texts = Mapping[tuple[str, int], str]


@dataclass
class Told:
    """One job and what its reader saw of it."""

    spec: JobSpec
    attached: bool
    cancel_at: int | None
    cancelled: bool = False
    seen: list[tuple[int, JobEvent]] = field(default_factory=list)

    @property
    def id(self) -> str:
        return str(self.spec.id)

    @property
    def text(self) -> str:
        return "".join(event.t for _, event in self.seen if isinstance(event, Token))

    @property
    def end(self) -> JobEvent:
        return self.seen[-1][1]

    @property
    def called_off(self) -> bool:
        """Whether it was cancelled, also by a request whose answer never came."""
        return self.cancelled or (isinstance(self.end, End) and self.end.stop_reason is StopReason.CANCELLED)

    @property
    def tokens(self) -> int:
        return sum(isinstance(event, Token) for _, event in self.seen)

    def check(self, texts: Texts) -> None:
        """Hold the job to what every stream promises, whoever was killed meanwhile."""
        assert [number for number, _ in self.seen] == list(range(1, len(self.seen) + 1)), self.id
        assert sum(isinstance(event, Started) for _, event in self.seen) <= 1, self.id
        assert sum(last(event) for _, event in self.seen) == 1, self.id
        assert isinstance(self.end, End), (self.id, self.end)
        if self.cancel_at is not None and self.end.stop_reason is StopReason.CANCELLED:
            assert texts[str(self.spec.prompt), max(LENGTHS)].startswith(self.text), self.id
        else:
            assert self.end.stop_reason is StopReason.MAX_TOKENS, (self.id, self.end)
            assert self.text == texts[str(self.spec.prompt), self.spec.max_tokens], self.id


class Caller:
    """Asks for one job after the other until ``enough``; ``doing`` says what he waits for."""

    def __init__(self, name: str, http: HttpClient, rng: random.Random) -> None:
        self.name = name
        self.told: list[Told] = []
        self.doing = "nothing"
        self._http = http
        self._rng = rng

    async def live(self, enough: asyncio.Event) -> None:
        while not enough.is_set():
            told = self._wish()
            self.told.append(told)
            await self._follow(told)
        self.doing = "nothing"

    async def again(self, told: Told) -> list[tuple[int, JobEvent]]:
        """Read it once more, from its beginning."""
        return [numbered async for numbered in self._events(told.id, 0)]

    def _wish(self) -> Told:
        length = self._rng.choice(LENGTHS)
        spec = JobSpec(
            model="tiny",
            prompt=self._rng.choice(PROMPTS),
            seed=1,  # then it says the same whatever runs beside it, and whatever the worker knows of it already
            max_tokens=length,
            temperature=0,
            ignore_eos=True,
            id=f"{self.name}-{len(self.told)}",
        )
        cancel_at = self._rng.choice((0, 1, 10, 100)) if self._rng.random() < 0.3 else None
        return Told(spec, attached=self._rng.random() < 0.5, cancel_at=cancel_at)

    async def _follow(self, told: Told) -> None:
        """Submit until she takes it, then read until its end, each time from where it broke."""
        self.doing = "submitting"
        accepted = False
        while not (told.seen and last(told.end)):
            try:
                if not accepted and not told.attached:
                    await self._http.call("POST", "/v2/tasks", body=told.spec)
                    accepted, self.doing = True, "waiting"
                    await self._maybe_cancel(told)
                after = told.seen[-1][0] if told.seen else 0
                stream = self._events(told.id, after) if accepted else self._submitted(told.spec)
                async with contextlib.aclosing(stream) as events:
                    async for number, event in events:
                        accepted = True
                        told.seen.append((number, event))
                        self.doing = "waiting" if isinstance(event, Queued) else "streaming"
                        await self._maybe_cancel(told)
            except AWAY:
                continue

    async def _maybe_cancel(self, told: Told) -> None:
        if told.cancel_at is None or told.cancelled or told.tokens < told.cancel_at:
            return
        doing, self.doing = self.doing, "cancelling"
        await self._http.call("DELETE", f"/v2/tasks/{told.id}")
        told.cancelled, self.doing = True, doing

    def _submitted(self, spec: JobSpec) -> AsyncIterator[tuple[int, JobEvent]]:
        return follow(self._http.stream("POST", "/v2/tasks", body=spec))

    def _events(self, job: str, after: int) -> AsyncIterator[tuple[int, JobEvent]]:
        headers = {"Last-Event-ID": str(after)} if after else None
        return follow(self._http.stream("GET", f"/v2/tasks/{job}/events", headers=headers))
