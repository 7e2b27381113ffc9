"""llama_cpp.server, which llama-cpp-python brings: what one gets in Python without rbee.

It lives in an environment of its own under build/, with the very wheel that the worker has. It answers one request
after the other; by default a second one would even cut the first, which it is told not to do. All else is as it comes.
"""

import sys
from pathlib import Path

from bench.processes import BUILD
from tools import wheels
from tools.dependencies import pinned
from tools.run import run, say
from tools.wheels import LLAMA

_NAME, _, _VERSION = pinned(LLAMA).partition("==")


def ensure() -> Path:
    """Return the Python of its environment, made if need be; the first time takes the network, and half a minute.

    Raises:
        ToolError: it cannot be had.
    """
    venv = BUILD / f"llama_cpp_server-{_VERSION}"
    python, done = venv / "bin" / "python", venv / "done"
    if not done.exists():
        say("installing llama_cpp.server, once")
        run([sys.executable, "-m", "venv", "--clear", venv], quiet=True)
        links = wheels.ensure(python)
        words = ["--quiet", "--only-binary=:all:", f"--find-links={links}", f"{_NAME}[server]=={_VERSION}"]
        run([python, "-m", "pip", "install", *words], quiet=True)
        done.touch()
    return python


def argv(python: Path, *, model: Path, port: int, ctx: int, threads: int, gpu: bool) -> list[str]:
    return [
        str(python), "-m", "llama_cpp.server", f"--model={model}", "--host=127.0.0.1", f"--port={port}",
        f"--n_ctx={ctx}", f"--n_threads={threads}", f"--n_threads_batch={threads}",
        f"--n_gpu_layers={-1 if gpu else 0}", "--interrupt_requests=false", "--verbose=false",
    ]  # fmt: skip
