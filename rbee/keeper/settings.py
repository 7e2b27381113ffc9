"""The settings of whoever types the command."""

import os

from rbee import config
from rbee.cli.run import Args
from rbee.config import Settings


def settings_of(args: Args) -> Settings:
    """Return the settings of the file, the environment and --config."""
    return config.load(args["--config"], os.environ)
