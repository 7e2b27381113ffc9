"""One question before something is destroyed, on a terminal; elsewhere --yes has to have been said."""

import sys

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
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidRequest(f"this would {what}, and there is no terminal to ask on", hint="add --yes to go on")
    output.err.write(f"{what.capitalize()}? [y/N] ")
    output.err.flush()
    agreed = sys.stdin.readline().strip().lower() in ("y", "yes")
    if not agreed:
        output.say("nothing was changed")
    return agreed


def dry_run(args: Args, output: Output, what: str) -> bool:
    """Say what would be done when --dry-run was given."""
    if args.get("--dry-run"):
        output.done(f"would {what}", dry_run=True)
        return True
    return False
