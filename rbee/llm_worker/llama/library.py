"""The shared library itself: loaded late and lightly, and what it says when something is wrong."""

import ctypes
import importlib.util
import os
import sys
import types
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from rbee import log
from rbee.errors import ModelLoadFailed

# ggml's OpenMP threads spin while they wait; spinning for ever beside a busy neighbour costs two thirds of the
# speed, not spinning at all costs as much on an idle machine (measured). libgomp reads this when it is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

_LOG_ERROR, _LOG_MORE = 4, 5
_complaints: deque[str] = deque(maxlen=8)

F = TypeVar("F", bound=Callable[..., Any])


def _binding() -> Any:
    """Return the module of the C functions, without the package around it: that is numpy, and a tenth of a second."""
    if "llama_cpp" not in sys.modules:
        found = importlib.util.find_spec("llama_cpp")
        if found is None or found.submodule_search_locations is None:
            raise ModelLoadFailed("llama-cpp-python is not installed", hint="pip install rbee[worker]")
        package = types.ModuleType("llama_cpp")
        package.__path__, package.__spec__ = list(found.submodule_search_locations), found
        sys.modules["llama_cpp"] = package
    import llama_cpp.llama_cpp as binding  # noqa: PLC0415  (after the line above, which it depends on)

    return binding


c: Any = _binding()


def folder() -> Path:
    """Return where the shared libraries lie."""
    elsewhere = os.environ.get("LLAMA_CPP_LIB_PATH")
    return Path(elsewhere) if elsewhere else Path(c.__file__).parent / "lib"


def ggml() -> Any:
    """Return ggml, which libllama has loaded already."""
    return ctypes.CDLL(str(folder() / "libggml.so"))


def listen() -> None:
    """Let llama.cpp's log be ours, and forget what it has complained of so far."""
    _complaints.clear()
    c.llama_log_set(_LOG_CALLBACK, None)


def load_failed(what: str, *, hint: str) -> ModelLoadFailed:
    """Return the error for what just failed: llama.cpp's first complaint is the reason, later ones only echo it."""
    first = _complaints[0].partition(": ")[2] if _complaints else ""
    return ModelLoadFailed(
        f"{what}: {first or 'llama.cpp did not say why'}", hint=hint, details={"log": list(_complaints)}
    )


def last_complaint() -> str:
    """Return what llama.cpp said last of what went wrong; empty when it said nothing."""
    return _complaints[-1] if _complaints else ""


def _on_log(level: int, text: bytes, _: Any) -> None:
    line = text.decode("utf-8", "replace").strip()
    if not line or level == _LOG_MORE:
        return
    if level == _LOG_ERROR:
        _complaints.append(line)
    log.debug("llama.said", text=line)


_LOG_CALLBACK = c.llama_log_callback(_on_log)  # kept: llama.cpp calls it for as long as the process lives
