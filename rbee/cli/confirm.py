"""One question before something is destroyed, on a terminal; elsewhere --yes has to have been said."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.errors import InvalidRequest


def confirm(args: Args, output: Output, what: str) -> bool:
    """Say whether to go on with ``what``; a --dry-run says what would be done, and does not.

    Raises:
        InvalidRequest: nobody can be asked, and --yes was not given.
    """
    if dry_run(args, output, what):
        return False
    if args.get("--yes"):
        return True
    if not can_ask():
        raise InvalidRequest(f"this would {what}, and there is no terminal to ask on", hint="add --yes to go on")
    with _interruptible():
        output.err.write(f"{what.capitalize()}? [y/N] ")
        output.err.flush()
        agreed = sys.stdin.readline().strip().lower() in ("y", "yes")
    if not agreed:
        output.say("nothing was changed")
    return agreed


def can_ask() -> bool:
    """Say whether somebody sits there."""
    return sys.stdin.isatty() and sys.stderr.isatty()


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """End at once when told to: an event loop would hear of a signal only after the answer."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers: dict[int, Any] = {number: signal.getsignal(number) for number in numbers}
    before = {number: handler for number, handler in handlers.items() if handler not in (None, signal.SIG_IGN)}
    try:
        for number in before:
            signal.signal(number, _ended)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ended(number: int, _: object) -> NoReturn:
    sys.stderr.write("\n")
    raise SystemExit(128 + number)


def dry_run(args: Args, output: Output, what: str) -> bool:
    """Say what would be done when --dry-run was given."""
    if args.get("--dry-run"):
        output.done(f"would {what}", dry_run=True)
        return True
    return False
