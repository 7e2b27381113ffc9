"""How tokens are drawn, as a chat, a completion and a response say it: OpenAI's fields, and ours beside them."""

from dataclasses import dataclass
from typing import Any

from rbee.wire.bodies import MOST_TOKENS, given, seed
from rbee.wire.fields import number

DEFAULT_MAX_TOKENS = 1024
"""When the caller names no limit; a worker clips it to what its context leaves."""

_OURS = ("top_k", "min_p", "repeat_penalty", "ignore_eos")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """OpenAI has no ``top_k``, ``min_p``, ``repeat_penalty`` and ``ignore_eos``."""

    temperature: float | None = number(low=0, high=2, default=None)
    top_p: float | None = number(low=0, high=1, default=None)
    top_k: int | None = number(low=0, high=1000, default=None)
    min_p: float | None = number(low=0, high=1, default=None)
    repeat_penalty: float | None = number(low=0.5, high=2, default=None)
    frequency_penalty: float | None = number(low=-2, high=2, default=None)
    presence_penalty: float | None = number(low=-2, high=2, default=None)
    ignore_eos: bool | None = None
    seed: int | None = number(low=-(2**63), high=2**64, default=None)


def sampling(asked: Sampled, limit: int | None) -> dict[str, Any]:
    """Return arguments of a Generation. What OpenAI has gets OpenAI's default, what it has not gets ours."""
    return {
        "max_tokens": min(limit or DEFAULT_MAX_TOKENS, MOST_TOKENS),
        "temperature": 1.0 if asked.temperature is None else asked.temperature,
        "top_p": 1.0 if asked.top_p is None else asked.top_p,
        "frequency_penalty": asked.frequency_penalty or 0.0,
        "presence_penalty": asked.presence_penalty or 0.0,
        "seed": seed(asked.seed),
        **given({name: getattr(asked, name) for name in _OURS}),
    }
