"""One thing done on many hosts at once: a line for each as it is done, one document, one exit code.

A host that fails never hides what the others said.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rbee.cli.output import Column, Output
from rbee.cli.run import Args
from rbee.errors import RbeeError
from rbee.keeper.hosts import Host, chosen, from_here
from rbee.wire import codec
from rbee.wire.envelope import to_envelope

if TYPE_CHECKING:
    from rbee.pool_core.ops import PoolOps

T = TypeVar("T")
Ask = Callable[["PoolOps"], Awaitable[T]]
_HOST = Column("HOST", "host")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[T]):
    """What came of one host: a result, or an error."""

    host: Host
    result: T | None = None
    error: RbeeError | None = None

    def plain(self) -> dict[str, Any]:
        """Return it as it stands in the document."""
        if self.error is not None:
            return {"id": self.host.name, "ok": False, **to_envelope(self.error, source=self.host.name)}
        return {"id": self.host.name, "ok": True, "result": codec.plain(self.result)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown(Generic[T]):
    """How a result is shown: ``whole`` when one host was asked, ``line`` beside the host's name when several were."""

    line: Callable[[T], str]
    whole: Callable[[T, Output], None] | None = None


async def on_each(hosts: Sequence[Host], output: Output, work: Callable[[Host], Awaitable[T]], show: Shown[T]) -> int:
    """Do ``work`` on all hosts side by side; return the exit code of it all."""
    width = max(len(host.name) for host in hosts)
    alone = show.whole if len(hosts) == 1 else None

    def tell(outcome: Outcome[T]) -> None:
        with output.above():
            if outcome.error is not None:
                output.failure(f"rbee-keeper {outcome.host.name}", outcome.error)
            elif alone is not None and outcome.result is not None:
                alone(outcome.result, output)
            else:
                output.text(f"{outcome.host.name.ljust(width)}  {show.line(outcome.result)}\n")  # type: ignore[arg-type]

    return finished(await gathered(hosts, work, _silent if output.as_json else tell), output)


async def gathered(
    hosts: Sequence[Host], work: Callable[[Host], Awaitable[T]], tell: Callable[[Outcome[T]], None]
) -> list[Outcome[T]]:
    """Return what came of each host, in their order; ``tell`` hears of each as it comes.

    Whoever cancels this, as Ctrl-C does, ends the work on every host first. So does a reader of ours that has gone.
    """

    async def one(host: Host) -> Outcome[T]:
        try:
            outcome = Outcome(host=host, result=await work(host))
        except RbeeError as error:
            error.hint = from_here(error.hint, host.name)
            outcome = Outcome(host=host, error=error)
        tell(outcome)
        return outcome

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(host), name=host.name) for host in hosts]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None  # the others have ended for its sake
    return [task.result() for task in tasks]


def finished(outcomes: Sequence[Outcome[Any]], output: Output) -> int:
    """Write the document where JSON was asked for; return the exit code."""
    if output.as_json:
        output.table([outcome.plain() for outcome in outcomes], [], none="")
    return exit_code(outcomes)


def exit_code(outcomes: Sequence[Outcome[Any]]) -> int:
    """Return 0 when all went well, else the code of the first host, as they were named, that failed."""
    return next((outcome.error.exit_code for outcome in outcomes if outcome.error is not None), os.EX_OK)


async def on_pools(args: Args, output: Output, ask: Ask[T], show: Shown[T]) -> int:
    """Ask the pool of each host that ``--host`` names."""

    async def work(host: Host) -> T:
        async with host.reached(args) as pool:
            return await ask(pool)

    return await on_each(chosen(args), output, work, show)


async def table(args: Args, output: Output, ask: Ask[Sequence[Any]], columns: Sequence[Column], *, none: str) -> int:
    """Ask the pools for lists, and show all of them as one table that says whose each row is."""

    async def work(host: Host) -> Sequence[Any]:
        async with host.reached(args) as pool:
            return await ask(pool)

    def tell(outcome: Outcome[Sequence[Any]]) -> None:
        if outcome.error is not None and not output.as_json:
            output.failure(f"rbee-keeper {outcome.host.name}", outcome.error)

    outcomes = await gathered(chosen(args), work, tell)
    if not output.as_json:
        rows = [{"host": o.host.name, **codec.plain(row)} for o in outcomes for row in o.result or ()]
        answered = any(outcome.error is None for outcome in outcomes)
        if rows or answered:
            output.table(rows, (_HOST, *columns), none=none)
    return finished(outcomes, output)


def _silent(_: Outcome[Any]) -> None:
    """A document is written when all is known."""
