"""Run a command line's command inside the test's own event loop."""

import asyncio
import io
import json
import resource
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from rbee.cli.output import Output
from rbee.cli.run import find
from rbee.cli.usage import parse
from rbee.errors import RbeeError


class Terminal(io.StringIO):
    """Text written to somebody who looks."""

    def isatty(self) -> bool:
        return True


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)


def least_cpu_s(run: Callable[[], object], times: int) -> float:
    """Return how much of a core the children that ``run`` waits for took at best: of the clock, others take as well."""

    def spent_s() -> float:
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        return spent.ru_utime + spent.ru_stime

    def took_s() -> float:
        before_s = spent_s()
        run()
        return spent_s() - before_s

    return min(took_s() for _ in range(times))


def at_once_s() -> float:
    """Return how much of a core may be taken by what answers at once: 150 ms, more where Python itself is slow."""

    def bare() -> None:
        subprocess.run([sys.executable, "-c", "pass"], check=True)

    return 0.150 * max(1, least_cpu_s(bare, times=8) / 0.06)


async def ran(cli: ModuleType, *argv: str, terminal: bool = False) -> Ran:
    """Run ``cli`` (its main module) with ``argv`` as its ``main`` would, but for signals and bugs.

    Args:
        terminal: somebody looks at what it writes.
    """
    args = parse("rbee-" + cli.__name__.split(".")[1], cli.USAGE, argv)
    out, err = (Terminal(), Terminal()) if terminal else (io.StringIO(), io.StringIO())
    output = Output(as_json=args["--format"] == "json", out=out, err=err)
    try:
        done = await asyncio.to_thread(find(cli.commands(), args), args, output)
        code = (await done if isinstance(done, Awaitable) else done) or 0
    except RbeeError as error:
        output.failure("test", error)
        code = error.exit_code
    return Ran(code, out.getvalue(), err.getvalue())
