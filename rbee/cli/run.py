"""From argv to an exit code: the usage text is the interface, a command is its operation's namesake."""

import gc
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from rbee import __version__
from rbee.cli import streams
from rbee.errors import EX_INTERRUPTED, RbeeError

if TYPE_CHECKING:
    import asyncio

CALLER = "RBEE_CALLER_VERSION"
"""Who asks over ssh says here what it is."""

Args: TypeAlias = dict[str, Any]
Command: TypeAlias = Callable[[Args, Any], Awaitable[int | None] | int | None]
"""Returns its exit code, None for 0; or what is waited for in an event loop, which not every command needs."""
Commands: TypeAlias = Mapping[tuple[str, ...], Command]


class Table(Mapping[tuple[str, ...], Command]):
    """Words → command, which is imported when it is looked up: each has its own needs, and some are heavy.

    Args:
        package: that the modules are in.
        names: words → ``module.function``.
    """

    def __init__(self, package: str, names: Mapping[tuple[str, ...], str]) -> None:
        self._package, self._names = package, names

    def __getitem__(self, words: tuple[str, ...]) -> Command:
        import importlib  # noqa: PLC0415

        module, _, function = self._names[words].rpartition(".")
        found: Command = getattr(importlib.import_module(f"{self._package}.{module}"), function)
        return found

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def main(program: str, usage: str, commands: Callable[[], Commands], argv: Sequence[str] | None = None) -> int:
    """Run what ``argv`` asks for and return the exit code.

    Args:
        usage: docopt text, the page that --help prints.
        commands: gives the table of words → command; called once arguments are understood, so that --help
            imports none of them.
    """
    gc.set_threshold(100_000)  # imports make many objects and no garbage; looking for some is a tenth of a start
    words = list(sys.argv[1:] if argv is None else argv)
    streams.open_closed()
    results = streams.Results(sys.stdout)
    try:
        code = _answered(program, usage, commands, words, results)
        results.flush()
        return code
    except BrokenPipeError:
        streams.silence_stdout()
        return 0
    except streams.OutputLost as error:
        streams.silence_stdout()
        sys.stderr.write(f"{program}: standard output: {error}\n")
        return os.EX_IOERR


def _answered(
    program: str, usage: str, commands: Callable[[], Commands], words: list[str], results: streams.Results
) -> int:
    if _asks(words, "--help", "-h"):
        results.write(usage.strip() + "\n")
        return 0
    if _asks(words, "--version"):
        results.write(f"{program} {__version__}\n")
        return 0
    args = _understood(program, usage, words)
    if isinstance(args, int):
        return args
    return _performed(program, args, commands, results)


def _asks(words: Sequence[str], *options: str) -> bool:
    before = words[: words.index("--")] if "--" in words else words
    return any(option in before for option in options)


def _understood(program: str, usage: str, words: list[str]) -> Args | int:
    import docopt  # noqa: PLC0415  (half of what --help would cost)

    from rbee.cli.usage import parse  # noqa: PLC0415

    try:
        return parse(program, usage, words)
    except docopt.DocoptExit:
        sys.stderr.write(_near_usage(program, usage, words))
        return os.EX_USAGE


def _near_usage(program: str, usage: str, words: Sequence[str]) -> str:
    """Return the usage lines that begin as the words given do, else have most of them; all when none does."""
    from rbee.cli.usage import lines as usage_lines  # noqa: PLC0415

    lines = usage_lines(program, usage)
    given = [word for word in words if not word.startswith("-")]
    scores = {line: _shared(line, given) for line in lines}
    if not any(scores.values()):
        scores = {line: len({*given} & {*line.split()}) for line in lines}
    best = max(scores.values(), default=0)
    near = [line for line in lines if best and scores[line] == best] or lines
    return f"{program}: cannot make sense of: {' '.join(words) or '(nothing)'}\nUsage:\n" + "\n".join(near) + "\n"


def _shared(line: str, given: Sequence[str]) -> int:
    wanted = line.split()[1:]
    count = 0
    for word in given:
        if count < len(wanted) and word in wanted[count].strip("()[]").split("|"):
            count += 1
    return count


def _performed(program: str, args: Args, commands: Callable[[], Commands], results: streams.Results) -> int:
    from rbee.cli.output import Output  # noqa: PLC0415

    as_json = args.get("--format") == "json"
    output = Output.for_terminal(results, as_json=as_json, no_color=bool(args.get("--no-color")))
    try:
        _check_format(args)
        require_same_line(program, os.environ.get(CALLER, ""))
        return _run(find(commands(), args), args, output)
    except KeyboardInterrupt:
        return EX_INTERRUPTED
    except RbeeError as error:
        output.failure(program, error)
        return error.exit_code
    except (BrokenPipeError, streams.OutputLost):
        raise
    except Exception as error:  # noqa: BLE001  (the one place that turns bugs into an exit code)
        return _bug(program, error, with_traceback=bool(args.get("--debug") or os.environ.get("RBEE_DEBUG")))


def _run(command: Command, args: Args, output: Any) -> int:
    done = command(args, output)
    return _waited_for(done) if isinstance(done, Awaitable) else done or 0


def _waited_for(doing: Awaitable[int | None]) -> int:
    import asyncio  # noqa: PLC0415  (the other half)
    import logging  # noqa: PLC0415
    import signal  # noqa: PLC0415

    logging.getLogger("asyncio").setLevel(logging.ERROR)  # that a child outlived our loop is no word to a person

    async def call() -> int | None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (we are one)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # what was begun is ended in order
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, _told_to_end, task, number)
        return await doing

    try:
        return asyncio.run(call()) or 0
    except asyncio.CancelledError as error:
        return 128 + int(error.args[0]) if error.args else EX_INTERRUPTED


def _told_to_end(task: "asyncio.Task[Any]", number: int) -> None:
    """End in order; told again, end. What runs elsewhere is on a leash, and ends with us."""
    if task.cancelling():
        os._exit(128 + number)
    task.cancel(number)


def find(commands: Commands, args: Args) -> Command:
    """Return the command whose words were all given; the longest wins."""
    given = {words for words in commands if all(args.get(word) for word in words)}
    return commands[max(given, key=len)]


def _check_format(args: Args) -> None:
    """Refuse a format that nobody writes; junit is for what ran checks."""
    checks = args.get("pool") and args.get("verify") and not args.get("models")
    known = ("text", "json", *(("junit",) if checks else ()))
    if args.get("--format") not in (None, *known):
        raise _usage(f"--format is {args['--format']!r}, expected {', '.join(known[:-1])} or {known[-1]}")


def require_same_line(program: str, caller: str) -> None:
    """Refuse to answer an rbee-keeper, over ssh, that would not understand: versions differ but in their last number.

    Raises:
        VersionMismatch: names both.
    """
    from rbee.errors import VersionMismatch  # noqa: PLC0415
    from rbee.wire.version import same_line  # noqa: PLC0415

    if caller and not same_line(caller, __version__):
        raise VersionMismatch(
            f"{program} there is {__version__}, the rbee-keeper that asks is {caller}",
            hint="install the same version on both",
            details={"version": __version__, "caller": caller},
        )


def _usage(sentence: str) -> RbeeError:
    from rbee.errors import InvalidRequest  # noqa: PLC0415

    return InvalidRequest(sentence)


def _bug(program: str, error: Exception, *, with_traceback: bool) -> int:
    import traceback  # noqa: PLC0415

    sys.stderr.write(f"{program}: sorry, this is a bug: {type(error).__name__}: {error}\n")
    if with_traceback:
        traceback.print_exception(error)
    else:
        sys.stderr.write("hint: run it again with --debug for the traceback\n")
    return os.EX_SOFTWARE
