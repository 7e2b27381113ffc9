"""The queen a command speaks to."""

import contextlib
import os
from collections.abc import AsyncIterator

from rbee import config
from rbee.cli.run import Args
from rbee.cli.units import parse_float
from rbee.client.http import HttpClient
from rbee.client.queen import QueenClient
from rbee.config import Settings


def settings_of(args: Args) -> Settings:
    """Return the settings of the file, the environment and --config."""
    return config.load(args["--config"], os.environ)


@contextlib.asynccontextmanager
async def reached(args: Args) -> AsyncIterator[QueenClient]:
    """Give the queen of [keeper] queen, with the token that this person may read."""
    settings = settings_of(args)
    tokens = config.read_token(settings.keeper.token_file, environ=os.environ)
    timeout_s = parse_float(args["--timeout"], "--timeout") or 30.0
    token = tokens[0] if tokens else ""
    async with HttpClient(settings.keeper.queen, token=token, source="queen", timeout_s=timeout_s) as http:
        yield QueenClient(http)
