"""Policies in Starlark (bazel.build/rules/language): no files, no network, no clock, no ``while``, no recursion.

A call is bounded in time and in steps. What has no such bound (memory; what Starlark does by native recursion; one long
step) ends the process, which is why ``process`` runs this and nothing else does.
"""

import time
from typing import Any, NoReturn

import starlark

from rbee.errors import ConfigInvalid, PolicyFailed

LOAD_S, _TRIAL_S = 1.0, 0.05
TICKS = 200
"""Starlark asks about every 1000 loop turns and calls whether to go on: the same script gets as far on any machine."""

CALLS = 50
SAID_LINES, SAID_CHARACTERS = 20, 200
LONGEST_FAULT = 300

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


class Script:
    """A script that was read and found right as far as reading tells.

    Attributes:
        said: what it printed in its last call, a line each.
    """

    def __init__(self, path: str, module: "starlark.FrozenModule", said: list[str]) -> None:
        self.path = path
        self.said = said
        self._module = module

    @classmethod
    def load(cls, path: str, source: str) -> "Script":
        """Return the script whose text is ``source``.

        Raises:
            ConfigInvalid: it is no Starlark, or has no ``decide``.
        """
        said = list[str]()
        try:
            return cls(path, _module(path, source, said), said)
        except (starlark.StarlarkError, ValueError) as error:
            raise ConfigInvalid(f"policy {path}: {_told(error)}", hint=f"rbee-keeper policy test {path}") from None

    def decide(self, context: str, limit_s: float) -> Any:
        """Return what the script wants done: an action as ``orchestrator_core.policy`` reads it, or None.

        Args:
            context: in JSON.
            limit_s: of processor time, so that a busy neighbour is no fault of the script's.

        Raises:
            PolicyFailed: it failed, took too long, or returned what is no value.
        """
        self.said.clear()
        began_s = time.process_time()
        try:
            answer = self._module.call_with(_bounds(began_s + limit_s), "decided", context).value
        except starlark.StarlarkError as error:
            self._require_in_time(began_s, limit_s, error)
            raise PolicyFailed(f"policy {self.path}: {_told(error)}") from None
        self._require_in_time(began_s, limit_s)  # one long step is not interrupted
        return answer

    def _require_in_time(self, began_s: float, limit_s: float, error: Exception | None = None) -> None:
        if time.process_time() - began_s >= limit_s:
            where = f"; it was {place}" if error is not None and (place := _place(error)) else ""
            raise PolicyFailed(f"policy {self.path} took longer than {limit_s * 1000:g} ms{where}") from None


def _module(path: str, source: str, said: list[str]) -> "starlark.FrozenModule":
    module = starlark.Module()
    module.add_callable("print", lambda *words: _say(said, words))
    module.add_callable("fail", _fail)
    for name, text in (("actions", PRELUDE), (path.rpartition("/")[2], source)):
        _run(module, name, text)
    if not _has_function(module, "decide"):
        raise ConfigInvalid(f"policy {path} has no function decide(ctx)", hint="docs/policy.md shows one")
    script = module.freeze()
    driver = starlark.Module()
    _run(driver, "context", DRIVER, starlark.FileLoader(lambda _: script))
    found = driver.freeze()
    _require_one_argument(path, found)
    return found


def _require_one_argument(path: str, driver: "starlark.FrozenModule") -> None:
    """Nothing tells a function's arguments, so it is called: what fails in our own file is the call itself."""
    try:
        driver.call_with(_bounds(time.process_time() + _TRIAL_S), "takes_one")
    except starlark.StarlarkError as error:
        if _place(error).startswith("at context:"):
            raise ConfigInvalid(f"policy {path}: decide takes one argument, ctx: {_told(error)}") from None


def _run(
    module: "starlark.Module", name: str, text: str, loader: "starlark.FileLoader | None" = None
) -> None:  # only our own file loads, and only it has json
    extensions = starlark.LibraryExtension
    known = [extensions.StructType, extensions.Map, extensions.Filter, *([extensions.Json] if loader else [])]
    bounds = _bounds(time.process_time() + LOAD_S)
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
        return ticks > TICKS or (until_s is not None and time.process_time() > until_s)

    return starlark.EvalOptions(check_cancelled=over, max_callstack_size=CALLS)


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
