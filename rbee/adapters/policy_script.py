"""Policies in Starlark (bazel.build/rules/language): no files, no network, no clock, no ``while``, no recursion.

A call is bounded in time and in steps. Memory is not: ``"x" * 10**9`` takes a gigabyte in one step, and only a process
of its own could prevent that; a policy is its owner's file, as trusted as the configuration that names it.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import starlark

from rbee.errors import ConfigInvalid, PolicyFailed

LONGEST_BYTES = 64 << 10
LIMIT_S = 0.05
TICKS = 2000
"""Starlark asks about every 1000 steps whether to go on: the same script gets as far on a slow machine as on a fast."""

CALLS = 50
SAID_LINES, SAID_CHARACTERS = 20, 200

# What a script finds there. Actions are plain values, so that they are the same in records.
PRELUDE = """
def dispatch(worker):
    return {"action": "dispatch", "pool": worker.pool, "worker": worker.id}

def wait(reason):
    return {"action": "wait", "reason": reason}

def start_worker(pool, backend, gpu = None):
    where = pool if type(pool) == "string" else pool.id
    return {"action": "start_worker", "pool": where, "backend": backend, "gpu": gpu}

def evict_worker(worker):
    return {"action": "evict_worker", "pool": worker.pool, "worker": worker.id}
"""

EPILOGUE = """
def _structs(rows):
    return [struct(**row) for row in rows]

def decided(text):
    told = json.decode(text)
    builtin = told["builtin"]
    return json.encode(decide(struct(
        now_ms = told["now_ms"],
        job = struct(**told["job"]),
        queue = _structs(told["queue"]),
        pools = _structs(told["pools"]),
        gpus = _structs(told["gpus"]),
        workers = _structs(told["workers"]),
        catalog = _structs(told["catalog"]),
        builtin = builtin,
    )))
"""


class PolicyScript:
    """A script that was read and found right as far as reading tells.

    Attributes:
        said: what it printed in its last call, a line each.
    """

    def __init__(self, path: Path, module: "starlark.FrozenModule", said: list[str]) -> None:
        self.path = path
        self.said = said
        self._module = module

    @classmethod
    def load(cls, path: Path) -> "PolicyScript":
        """Return the script in ``path``.

        Raises:
            ConfigInvalid: it cannot be read, is too long, is no Starlark, or has no ``decide``.
        """
        source, said, module = _source(path), list[str](), starlark.Module()
        module.add_callable("print", lambda *words: _say(said, words))
        try:
            for name, text in (("actions", PRELUDE), (path.name, source)):
                _run(module, name, text)
            if not _has_function(module, "decide"):
                raise ConfigInvalid(f"policy {path} has no function decide(ctx)", hint="docs/policy.md shows one")
            _run(module, "context", EPILOGUE)
        except starlark.StarlarkError as error:
            raise ConfigInvalid(f"policy {path}: {_told(error)}", hint=f"rbee-keeper policy test {path}") from None
        return cls(path, module.freeze(), said)

    def decide(self, context: Mapping[str, Any], limit_s: float = LIMIT_S) -> Any:
        """Return what the script wants done: an action as ``orchestrator_core.policy`` reads it, or None.

        Raises:
            PolicyFailed: it failed, took too long, or returned what is no value.
        """
        self.said.clear()
        began_s = time.monotonic()
        try:
            answer = self._module.call_with(_bounds(began_s + limit_s), "decided", json.dumps(context)).value
            return json.loads(str(answer))
        except starlark.StarlarkError as error:
            if time.monotonic() - began_s >= limit_s:
                raise PolicyFailed(f"policy {self.path} took longer than {limit_s * 1000:g} ms") from None
            raise PolicyFailed(f"policy {self.path}: {_told(error)}") from None
        except (ValueError, RecursionError) as error:
            raise PolicyFailed(f"policy {self.path}: {error}") from None


def _run(module: "starlark.Module", name: str, text: str) -> None:
    extensions = starlark.LibraryExtension
    known = starlark.Globals.extended_by(
        [extensions.StructType, extensions.Json, extensions.Map, extensions.Filter]
    )  # fmt: skip
    starlark.eval_with(_bounds(), module, starlark.parse(name, text), known)


def _has_function(module: "starlark.Module", name: str) -> bool:
    """Say whether a script defines it. What can be turned into a value of Python is none; functions cannot."""
    try:
        return bool(module[name] and False)
    except starlark.StarlarkError as error:
        return "`function`" in str(error)


def _say(said: list[str], words: tuple[object, ...]) -> None:
    if len(said) < SAID_LINES:
        said.append(" ".join(map(str, words))[:SAID_CHARACTERS])


def _bounds(until_s: float | None = None) -> "starlark.EvalOptions":
    ticks = 0

    def over() -> bool:
        nonlocal ticks
        ticks += 1
        return ticks > TICKS or (until_s is not None and time.monotonic() > until_s)

    return starlark.EvalOptions(check_cancelled=over, max_callstack_size=CALLS)


def _source(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigInvalid(f"policy {path}: {error.strerror}", hint="correct [queen] policy") from None
    if len(data) > LONGEST_BYTES:
        raise ConfigInvalid(f"policy {path} is {len(data)} bytes long, expected at most {LONGEST_BYTES}")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigInvalid(f"policy {path} is not UTF-8: byte {error.start}") from None


def _told(error: Exception) -> str:
    """Return the sentence and the place out of Starlark's drawing of it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    what = next((line.removeprefix("error:").strip() for line in lines if line.startswith("error:")), "")
    where = next((line.removeprefix("-->").strip() for line in reversed(lines) if line.startswith("-->")), "")
    return f"{what or (lines[0] if lines else 'it failed')}{f' at {where}' if where else ''}"
