"""Ollama's ``options``: how to sample, how long, and how its server should load the model, which is not its caller's
affair here; and ``keep_alive``, how long it should stay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rbee.wire.bodies import MOST_TOKENS, Faults, Neutral, part, seed, shown, stops
from rbee.wire.fields import number, plain
from rbee.wire.openai import DEFAULT_MAX_TOKENS

_NEUTRAL: Neutral = {
    "mirostat": (None, 0),
    "repeat_last_n": (None, 64),
    "tfs_z": (None, 1, 0),
    "typical_p": (None, 1, 0),
    "penalize_newline": (None, True),
    "vocab_only": (None, False),
    "logits_all": (None, False),
    "embedding_only": (None, False),
}
"""What is left of Ollama's options (num_gpu, num_thread, use_mmap, …) says how to load and not what to answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    temperature: float | None = number(low=0, high=2, default=None)
    top_k: int | None = number(low=0, high=1000, default=None)
    top_p: float | None = number(low=0, high=1, default=None)
    min_p: float | None = number(low=0, high=1, default=None)
    repeat_penalty: float | None = number(low=0.5, high=2, default=None)
    frequency_penalty: float | None = number(low=-2, high=2, default=None)
    presence_penalty: float | None = number(low=-2, high=2, default=None)
    seed: int | None = number(low=-(2**63), high=2**63, default=None)
    num_predict: int | None = number(low=-2, high=2**31, default=None)
    num_ctx: int | None = number(low=1, high=2**31, default=None)
    stop: str | tuple[str, ...] | None = plain(None)
    ignore_eos: bool | None = None


_DEFAULTS: Mapping[str, float] = {
    "temperature": 0.8, "top_k": 40, "top_p": 0.9, "min_p": 0.0, "repeat_penalty": 1.1, "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
}  # fmt: skip
"""Ollama's own."""
_NO_TIME: Sequence[str] = ("0", "0.0")


def options_of(given: Any, faults: Faults) -> Options:
    if given is None:
        return Options()
    read = part(Options, given, "options", faults)
    if read is None:
        return Options()
    faults.refuse_unless_neutral(given, _NEUTRAL, "options")
    if read.num_predict == 0:
        faults.add("options.num_predict", "is 0, expected -2, -1 or at least 1")
    return read


def sampling(read: Options) -> dict[str, Any]:
    """Return a Generation's arguments."""
    told = {name: getattr(read, name) for name in _DEFAULTS}
    return {
        **{name: default if told[name] is None else told[name] for name, default in _DEFAULTS.items()},
        "max_tokens": _limit(read.num_predict),
        "stop": stops(read.stop),
        "seed": seed(read.seed),
        "ignore_eos": bool(read.ignore_eos),
    }


def _limit(num_predict: int | None) -> int:
    """Return how many tokens at most; less than none is Ollama's word for as many as there is room for."""
    if num_predict is None:
        return DEFAULT_MAX_TOKENS
    return MOST_TOKENS if num_predict < 0 else min(num_predict, MOST_TOKENS)


def leaves(keep_alive: Any, faults: Faults) -> bool:
    """Say whether the model shall leave at once; when it leaves otherwise is the worker's own affair (idle_s)."""
    if isinstance(keep_alive, str):
        return keep_alive.strip().rstrip("smh") in _NO_TIME
    if keep_alive is not None and (isinstance(keep_alive, bool) or not isinstance(keep_alive, int | float)):
        faults.add("keep_alive", f"is {shown(keep_alive)}, expected seconds, or a time like 5m")
    return keep_alive is not None and keep_alive == 0
