"""Policies in Starlark (bazel.build/rules/language): no files, no network, no clock, no ``while``, no recursion.

A call is bounded in time and in steps. Memory is not: ``"x" * 10**9`` takes a gigabyte in one step, and only a process
of its own could prevent that; a policy is its owner's file, as trusted as the configuration that names it.

What Starlark does by native recursion (``str``, hashing, its parser) has no bound of its own and ends the process when
the stack does. So a script runs on a stack that what its steps can nest does not fill, and is not given ``json``, whose
``encode`` needs more for three hundred lists in each other than any thread has.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import starlark

from rbee.errors import ConfigInvalid, PolicyFailed

LONGEST_BYTES = 64 << 10
LIMIT_S = 0.05
LOAD_S = 1.0
TICKS = 200
"""Starlark asks about every 1000 loop turns and calls whether to go on: the same script gets as far on any machine."""

CALLS = 50
STACK_BYTES = 256 << 20
"""Address space, not memory: enough to print what 200,000 turns have nested."""

SAID_LINES, SAID_CHARACTERS = 20, 200
LONGEST_FAULT = 300
T = TypeVar("T")

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

# Runs in a module of its own, so that no name of a script can be in its way, nor one of its in the script's. A plain
# decide(…) would be inlined here where it is short, and its faults be told with a place in this text.
DRIVER = """
load("script", "decide")

def takes_one():
    [decide][len([]):][0](None)

def _structs(rows):
    return [struct(**row) for row in rows]

def decided(text):
    told = json.decode(text)
    builtin = told["builtin"]
    return [decide][len([]):][0](struct(
        now_ms = told["now_ms"],
        job = struct(**told["job"]),
        queue = _structs(told["queue"]),
        pools = _structs(told["pools"]),
        gpus = _structs(told["gpus"]),
        workers = _structs(told["workers"]),
        catalog = _structs(told["catalog"]),
        builtin = builtin,
    ))
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
        source, said = _source(path), list[str]()
        try:
            return cls(path, _deep(lambda: _module(path, source, said)), said)
        except (starlark.StarlarkError, ValueError) as error:
            raise ConfigInvalid(f"policy {path}: {_told(error)}", hint=f"rbee-keeper policy test {path}") from None

    def decide(self, context: Mapping[str, Any], limit_s: float = LIMIT_S) -> Any:
        """Return what the script wants done: an action as ``orchestrator_core.policy`` reads it, or None.

        Raises:
            PolicyFailed: it failed, took too long, or returned what is no value.
        """
        self.said.clear()
        began_s = time.monotonic()
        try:
            bounds, text = _bounds(began_s + limit_s), json.dumps(context)
            answer = _deep(lambda: self._module.call_with(bounds, "decided", text).value)
        except starlark.StarlarkError as error:
            self._require_in_time(began_s, limit_s, error)
            raise PolicyFailed(f"policy {self.path}: {_told(error)}") from None
        except (ValueError, RecursionError) as error:
            raise PolicyFailed(f"policy {self.path}: {error}") from None
        self._require_in_time(began_s, limit_s)  # one long step is not interrupted
        return answer

    def _require_in_time(self, began_s: float, limit_s: float, error: Exception | None = None) -> None:
        if time.monotonic() - began_s >= limit_s:
            where = f"; it was {place}" if error is not None and (place := _place(error)) else ""
            raise PolicyFailed(f"policy {self.path} took longer than {limit_s * 1000:g} ms{where}") from None


def _module(path: Path, source: str, said: list[str]) -> "starlark.FrozenModule":
    module = starlark.Module()
    module.add_callable("print", lambda *words: _say(said, words))
    module.add_callable("fail", _fail)
    for name, text in (("actions", PRELUDE), (path.name, source)):
        _run(module, name, text)
    if not _has_function(module, "decide"):
        raise ConfigInvalid(f"policy {path} has no function decide(ctx)", hint="docs/policy.md shows one")
    script = module.freeze()
    driver = starlark.Module()
    _run(driver, "context", DRIVER, starlark.FileLoader(lambda _: script))
    found = driver.freeze()
    _require_one_argument(path, found)
    return found


def _require_one_argument(path: Path, driver: "starlark.FrozenModule") -> None:
    """Nothing tells a function's arguments, so it is called: what fails in our own file is the call itself."""
    try:
        driver.call_with(_bounds(time.monotonic() + LIMIT_S), "takes_one")
    except starlark.StarlarkError as error:
        if _place(error).startswith("at context:"):
            raise ConfigInvalid(f"policy {path}: decide takes one argument, ctx: {_told(error)}") from None


def _deep(work: Callable[[], T]) -> T:
    """Return what ``work`` does, on a stack of STACK_BYTES. A panic in it, no Exception, becomes one."""
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:  # noqa: BLE001  (raised again below)
            failed.append(error)

    before = threading.stack_size(STACK_BYTES)
    try:
        thread = threading.Thread(target=run, name="policy")
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    if failed and not isinstance(failed[0], Exception):
        raise ValueError(f"Starlark gave up: {str(failed[0])[:LONGEST_FAULT]}") from None
    if failed:
        raise failed[0]
    return done[0]


def _run(
    module: "starlark.Module", name: str, text: str, loader: "starlark.FileLoader | None" = None
) -> None:  # only our own file loads, and only it has json
    extensions = starlark.LibraryExtension
    known = [extensions.StructType, extensions.Map, extensions.Filter, *([extensions.Json] if loader else [])]
    bounds = _bounds(time.monotonic() + LOAD_S)
    starlark.eval_with(bounds, module, starlark.parse(name, text), starlark.Globals.extended_by(known), loader)


def _has_function(module: "starlark.Module", name: str) -> bool:
    """Say whether a script defines it. What can be turned into a value of Python is none; functions cannot."""
    try:
        return bool(module[name] and False)
    except starlark.StarlarkError as error:
        return "`function`" in str(error)


def _fail(*words: object) -> NoReturn:
    raise ValueError(" ".join(map(str, words))[:LONGEST_FAULT])


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
    said = (what or (lines[0] if lines else "it failed")).removeprefix("ValueError: ")
    if said == "Evaluation cancelled":
        said = f"it made more than {TICKS * 1000} loop turns and calls"
    return f"{said[:LONGEST_FAULT]} {_place(error)}".rstrip()


def _place(error: Exception) -> str:
    """Return ``at x.star:3:5``, or nothing where Starlark does not say."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line.replace("-->", "at") for line in reversed(lines) if line.startswith("-->")), "")
