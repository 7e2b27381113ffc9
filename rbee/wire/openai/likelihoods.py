"""How likely tokens were, in the two shapes OpenAI has for it."""

from collections.abc import Sequence
from typing import Any

from rbee.wire.events import Likelihood, Rival

_NEVER = -9999.0
"""What stands for a likelihood of nothing, since JSON has no word for minus infinity."""


def of_chat(tokens: Sequence[Likelihood]) -> dict[str, Any]:
    return {
        "content": [{**_rival(each), "top_logprobs": [_rival(rival) for rival in each.top]} for each in tokens],
        "refusal": None,
    }


def of_completion(tokens: Sequence[Likelihood], offset: int) -> dict[str, Any]:
    """Args: offset: how many characters the choice had before."""
    offsets = []
    for each in tokens:
        offsets.append(offset)
        offset += len(each.token)
    return {
        "tokens": [each.token for each in tokens],
        "token_logprobs": [_finite(each) for each in tokens],
        "top_logprobs": [{rival.token: _finite(rival) for rival in each.top} for each in tokens],
        "text_offset": offsets,
    }


def _rival(rival: Rival) -> dict[str, Any]:
    return {"token": rival.token, "logprob": _finite(rival), "bytes": list(rival.bytes)}


def _finite(rival: Rival) -> float:
    return max(rival.logprob, _NEVER)
