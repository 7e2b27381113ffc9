"""rbee-keeper token …"""

import asyncio
import os
import secrets
from pathlib import Path

from rbee.cli.confirm import dry_run
from rbee.cli.output import Output
from rbee.cli.run import Args
from rbee.errors import Conflict, NotPermitted, RbeeError

TOKEN_BYTES = 32


class CannotCreate(RbeeError):
    """The file cannot be made where it was asked for."""

    exit_code = os.EX_CANTCREAT


async def new(args: Args, output: Output) -> None:
    """Make a fleet token; a file that is there is never overwritten."""
    token, path = secrets.token_hex(TOKEN_BYTES), args["--output"]
    if not path:
        output.facts({"token": token}, {"token": token}) if output.as_json else output.text(f"{token}\n")
    elif not dry_run(args, output, f"write a new token to {path}"):
        await asyncio.to_thread(_write, path, token)
        output.done(f"a new token is in {path}", path=path)


def _write(path: str, token: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Conflict(f"{path} is there already", hint=f"mv {path} {path}.old") from None
    except PermissionError:
        raise NotPermitted(f"{path} cannot be written: you may not") from None
    except OSError as error:
        raise CannotCreate(f"{path} cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{token}\n")
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        Path(path).unlink(missing_ok=True)
        raise CannotCreate(f"{path} cannot be written: {error.strerror}", hint=f"df -h {path}") from None
