"""Run a command on another host. The door to ssh: nothing else starts it."""

import contextlib
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from rbee.adapters import process
from rbee.adapters.process import Completed
from rbee.adapters.ssh import command, config, failures
from rbee.adapters.ssh.failures import Far
from rbee.errors import Timeout

ANSWER_S = 30.0
_SHOWN_WORDS = 12  # a command of more is nothing to type


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """One host by ssh, as whoever its configuration says.

    Args:
        name: what rbee calls the host.
        target: what ssh is given: a name of its configuration, ``user@host``, or ``ssh://user@host:port``.
        sudo: run commands there as root.
        any_version: have rbee there answer also when it is of another version.
        ssh_config: read by ssh in place of the person's own, which it includes; None for their own alone.
    """

    name: str
    target: str
    sudo: bool = False
    any_version: bool = False
    ssh_config: Path | None = None

    @classmethod
    def to(cls, name: str, target: str, *, sudo: bool, environ: Mapping[str, str]) -> Self:
        return cls(name=name, target=target or name, sudo=sudo, ssh_config=config.ensure(environ))

    async def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes | None = None,  # noqa: A002  (subprocess's own word)
        timeout_s: float = ANSWER_S,
        check: bool = True,
    ) -> Completed:
        """Run ``argv`` there and return what it said. When we end before it does, it is ended, too.

        Args:
            timeout_s: for all of it, the connection's ten seconds included.

        Raises:
            PoolUnreachable, NotPermitted, Timeout: ssh did not get there; the sentence says why.
            NotFound: there is no such program.
            ProgramFailed: it exited non-zero and ``check`` is set.
        """
        try:
            done = await process.run(
                self._argv(argv, fed=input is not None),
                input=input,
                leash=input is None,
                timeout_s=timeout_s,
                check=False,
            )
        except Timeout:
            raise Timeout(
                f"{argv[0]} on {self.far.shown} did not end within {timeout_s:g} s",
                hint=by_hand(self.target, *argv) if len(argv) <= _SHOWN_WORDS else "",
            ) from None
        done = self._judged(done, argv)
        if check and done.returncode != 0:
            raise process.failed(Completed(tuple(argv), done.returncode, done.stdout, done.stderr))
        return done

    async def lines(self, argv: Sequence[str], *, check: bool = True) -> AsyncIterator[str]:
        """Yield the lines ``argv`` prints there; closing the iterator ends it there, too. Raises as ``run``."""
        printed = process.lines(self._argv(argv), leash=True)
        try:
            async with contextlib.aclosing(printed):  # type: ignore[type-var]  # it is a generator
                async for line in printed:
                    yield line
        except process.ProgramFailed as error:
            done = Completed(tuple(argv), int(error.details["returncode"]), "", str(error.details["stderr"]))
            done = self._judged(done, argv)
            if check:
                raise process.failed(done) from None

    async def passed_through(self, argv: Sequence[str], tell: process.Tell) -> int:
        """Run ``argv`` there, hand every line to ``tell`` as it comes, and return the exit status.

        Raises:
            RbeeError: as ``run``, when ssh did not get there.
        """
        missing = f"{command.NO_PROGRAM}{argv[0]}"

        def theirs(line: str, to_stderr: bool) -> None:
            if not to_stderr:
                tell(line, to_stderr)
            elif line not in (missing, command.ITS_OWN_255):
                tell(line.removesuffix(command.ITS_OWN_255), to_stderr)

        return self._judged(await process.told(self._argv(argv), theirs), argv).returncode

    @property
    def far(self) -> Far:
        return Far(self.name, self.target)

    def _argv(self, argv: Sequence[str], *, fed: bool = False) -> list[str]:
        own = ["-F", str(self.ssh_config)] if self.ssh_config else []
        # "--" so that a host called -oProxyCommand=… stays a host
        return ["ssh", "-T", *own, *command.UNATTENDED, "--", self.target, self._line(argv, fed)]

    def _line(self, argv: Sequence[str], fed: bool) -> str:
        return command.line(argv, sudo=self.sudo, fed=fed, any_version=self.any_version)

    def _judged(self, done: Completed, argv: Sequence[str]) -> Completed:
        """Raise what is ssh's or sudo's failure or a missing program; return what is the command's own."""
        said = done.stderr
        if done.returncode == failures.EX_SSH and command.ITS_OWN_255 in said:
            return replace(done, stderr=said.replace(command.ITS_OWN_255, "").rstrip())
        if done.returncode == failures.EX_SSH:
            raise failures.failure(self.far, said) or failures.unexplained(self.far, said)
        if done.returncode == 127 and f"{command.NO_PROGRAM}{argv[0]}" in said:
            raise failures.missing_program(self.far, argv[0])
        if self.sudo and done.returncode in (1, 127) and (refused := failures.of_sudo(self.far, said)):
            raise refused
        return done


def by_hand(target: str, *argv: str) -> str:
    """Return what a person would type to run ``argv`` there."""
    return f"ssh {shlex.quote(target)} {shlex.join(argv)}"
