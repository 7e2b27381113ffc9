"""--check-config: whether settings are right, said on one line; or each thing that is wrong, on a line of its own."""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from rbee.errors import InvalidRequest, RbeeError

_NO_SAY = ("--config", "--bind")  # of a file that is checked by itself


def checked(program: str, args: Mapping[str, Any], check: Callable[[], str]) -> int:
    """Run ``check``, which returns what it found right; say so, and return the exit code."""
    try:
        _require_one_file(program, args)
        right = check()
    except RbeeError as error:
        sys.stderr.write("".join(f"{program}: {line}\n" for line in _lines(error)))
        return error.exit_code
    sys.stdout.write(f"{right}: right\n")
    return os.EX_OK


def _require_one_file(program: str, args: Mapping[str, Any]) -> None:
    file, given = args["<file>"], [option for option in _NO_SAY if args[option] is not None]
    if file is not None and given:
        raise InvalidRequest(
            f"{' and '.join(given)} would add to {file}, which is to be checked by itself",
            hint=f"{program} --check-config {file}",
        )


def _lines(error: RbeeError) -> list[str]:
    wrong = [f"{each['origin']}: {each['field']}: {each['problem']}" for each in error.details.get("fields", ())]
    return [*(wrong or [error.message]), *([f"hint: {error.hint}"] if error.hint else [])]
