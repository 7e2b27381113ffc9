"""What a rollout does to a host while nobody works there."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from rbee.adapters import process
from rbee.cli.output import Output
from rbee.keeper.hosts import Host

_HOST = "{host}"

Say: TypeAlias = Callable[[str], None]
"""Told a line of what is done, as it is said."""


def teller(host: Host, output: Output) -> Say:
    """Return who shows what is said of ``host`` meanwhile, beside its name."""
    return lambda line: output.say(f"{host.name}  | {line}")


class Change(Protocol):
    """One change for every host of a rollout.

    ``before`` is what ``look`` returned when the host was first looked at, also where that was before a resume.
    """

    @property
    def doing(self) -> str:
        """What ``make`` is, for a sentence."""

    @property
    def takes_back(self) -> bool:
        """Whether a change that went wrong is to be taken back."""

    async def look(self, host: Host, /) -> str:
        """Return what the host is before anything is done; empty where that could not be had back."""

    async def prepare(self, host: Host, say: Say, /) -> str:
        """Do what can be done, and can fail, while the host still works; return what was, if there is a word to say."""

    async def make(self, host: Host, say: Say, /) -> None:
        """Change the host, which has no work."""

    async def require_made(self, host: Host, /) -> None:
        """Refuse a host that is back, and is not what was wanted."""

    async def way_back(self, host: Host, before: str, /) -> str:
        """Return what a person types to have the host as it was; empty when it is, or when nobody knows how."""

    async def take_back(self, host: Host, before: str, say: Say, /) -> None:
        """Have the host as it was, if it is not."""


class Command:
    """A command that runs here, with ``{host}`` filled in. Nobody knows what it does, so nobody can take it back."""

    doing = "running the command"
    takes_back = False

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = argv

    async def look(self, _: Host) -> str:
        return ""

    async def prepare(self, _: Host, _say: Say) -> str:
        return ""

    async def make(self, host: Host, say: Say) -> None:
        argv = [word.replace(_HOST, host.name) for word in self._argv]
        done = await process.told(argv, lambda line, _: say(line), leash=False)
        if done.returncode != 0:
            raise process.failed(done)

    async def require_made(self, _: Host) -> None:
        """Verification says what there is to say."""

    async def way_back(self, _: Host, _before: str) -> str:
        return ""

    async def take_back(self, _: Host, _before: str, _say: Say) -> None:
        """It is left as it is."""
