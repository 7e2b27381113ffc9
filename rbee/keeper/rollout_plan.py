"""What a rollout or a deploy is about to do, in a file so that one that has stopped can be resumed; one at a time."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from rbee import config
from rbee.adapters.files import locked, make_folder, permitted, write_whole
from rbee.errors import Conflict, InvalidRequest, NotFound, RbeeError
from rbee.wire import codec
from rbee.wire.fields import plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """The flake that has the hosts' NixOS configurations, and how they are switched to."""

    flake: str
    attribute: str = ""
    build_host: str = ""
    auto_rollback: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which hosts, and what is done to each: a command, or a deployment. ``done`` are those that are through.

    ``failed_before`` are the checks that the next host did not pass before anything was done to it: by host, so that
    what a command breaks is not taken for that when it is resumed. ``was`` is what it could be taken back to.
    """

    hosts: tuple[str, ...]
    command: tuple[str, ...] = ()
    deployment: Deployment | None = None
    done: tuple[str, ...] = ()
    failed_before: Mapping[str, tuple[str, ...]] = plain({})
    was: Mapping[str, str] = plain({})

    @property
    def verb(self) -> str:
        """The command whose plan this is."""
        return "rollout" if self.deployment is None else "deploy"

    @property
    def left(self) -> tuple[str, ...]:
        return tuple(name for name in self.hosts if name not in self.done)

    def through(self, name: str) -> Self:
        """Return the plan after ``name`` is done."""
        return replace(self, done=(*self.done, name))

    def found(self, name: str, failed: Sequence[str], was: str) -> Self:
        """Return the plan with what ``name`` is and fails; what was found at first stays."""
        return replace(
            self,
            failed_before={name: tuple(failed), **self.failed_before},
            was={name: was, **self.was} if was else self.was,
        )


class PlanFile:
    """Where the plan of the one rollout or deploy is that runs here, or has stopped."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "rollout.json"

    @classmethod
    def own(cls) -> Self:
        return cls(config.state_dir(os.environ))

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Let nobody else roll out meanwhile: two would drain a host each, and wait for what the other changes.

        Raises:
            Conflict: somebody does.
        """
        with contextlib.ExitStack() as held:
            with permitted(self._file.parent):
                make_folder(self._file.parent)
                try:
                    held.enter_context(locked(self._file.with_suffix(".lock"), wait=False))
                except BlockingIOError:
                    raise Conflict(
                        "another rollout or deploy runs on this machine", hint="pgrep -af 'pool (rollout|deploy)'"
                    ) from None
            yield

    def require_none(self, *, again: bool) -> None:
        """Refuse to begin while one has stopped, unless it may be forgotten: ``again``.

        Raises:
            Conflict: names where it stopped.
        """
        if again or not self._file.exists():
            return
        plan = self.read()
        raise Conflict(
            f"a {plan.verb} has stopped at {plan.left[0]}, with {len(plan.left)} of its hosts to go",
            hint=f"rbee-keeper pool {plan.verb} --resume; or add --yes to forget it",
            details={"hosts": list(plan.left)},
        )

    def read(self) -> Plan:
        """Return the plan of what has stopped.

        Raises:
            NotFound: nothing has.
            InvalidRequest: the file holds none.
        """
        try:
            return codec.from_dict(Plan, codec.parse_json(self._file.read_bytes()))
        except FileNotFoundError:
            raise NotFound(
                "no rollout has stopped, and no deploy", hint="begin one: rbee-keeper pool rollout --help"
            ) from None
        except RbeeError as error:
            raise InvalidRequest(f"{self._file}: {error.message}", hint=f"rm {self._file}") from None

    def write(self, plan: Plan) -> None:
        """Keep ``plan``; one whose hosts are all done is forgotten."""
        with permitted(self._file.parent):
            if plan.left:
                write_whole(self._file, codec.dump_json(plan).encode())
            else:
                self._file.unlink(missing_ok=True)
