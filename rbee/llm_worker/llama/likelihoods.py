"""How likely a token was, from the row of numbers that the model gave.

Asked for seldom: numpy is loaded when the first request that wants it is made ready (``preparing``).
"""

import ctypes
from typing import TYPE_CHECKING, Any

from rbee.wire.events import Likelihood, Rival

if TYPE_CHECKING:
    from rbee.llm_worker.llama.model import Model


def row(address: int, vocabulary: int) -> Any:
    """Return a copy of the row of 32-bit floats at ``address``."""
    import numpy  # noqa: PLC0415

    return numpy.ctypeslib.as_array((ctypes.c_float * vocabulary).from_address(address)).copy()


def likelihood(row: Any, model: "Model", token: int, top: int) -> Likelihood:
    """Return the likelihood of ``token`` and its ``top`` likeliest rivals, as the softmax of the row says it."""
    import numpy  # noqa: PLC0415

    highest = float(row.max())
    whole = highest + float(numpy.log(numpy.exp(row - highest).sum(dtype=numpy.float64)))
    best = numpy.argpartition(row, -top)[-top:].tolist() if top else []
    order = sorted(best, key=lambda each: (-float(row[each]), each))
    said = _rival(model, token, float(row[token]) - whole)
    return Likelihood(
        token=said.token,
        logprob=said.logprob,
        bytes=said.bytes,
        top=tuple(_rival(model, each, float(row[each]) - whole) for each in order),
    )


def _rival(model: "Model", token: int, logprob: float) -> Rival:
    piece = model.piece(token, aloud=True)
    return Rival(token=piece.decode("utf-8", "replace"), logprob=max(logprob, -9999.0), bytes=tuple(piece))
