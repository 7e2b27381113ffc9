"""llguidance: which tokens a grammar lets follow. The only import of it, and of numpy before it is needed.

llama.cpp has a grammar sampler of its own. It throws C++ exceptions, which end the process when they come through
ctypes, it ignores what it does not know of a schema, and it takes long where the vocabulary is large.
"""

import ctypes
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer

from rbee.errors import RbeeError
from rbee.llm_worker.schema import GrammarRefused

_COMPACT = {
    "whitespace_flexible": False,  # a small model that may say blanks says nothing else
    "lenient": False,
    # Without \u: a name could be spelled with it so that it is not recognised as the property it is.
    "json_allowed_escapes": 'nrbtf\\"',
}


_HEAD = '%llguidance {"no_forcing": true}\n'
"""Every grammar begins with it: where only one text can follow the model still chooses how that is cut into tokens."""


class Lexicon:
    """A vocabulary, made ready for any number of grammars; takes a tenth of a second for a large one.

    Args:
        pieces: the bytes of each token, by its number.
        silent: tokens that no text has, whatever their bytes are.
        ends: tokens that end an answer.
    """

    def __init__(self, pieces: Sequence[bytes], *, silent: frozenset[int], ends: Sequence[int]) -> None:
        self.size = len(pieces)
        self._tokenizer = LLTokenizer(_Words(pieces, silent, ends[0] if ends else 0), eos_token=list(ends))  # type: ignore[arg-type]

    def rule(self, grammar: str) -> "Rule":
        """Return ``grammar``, in llguidance's Lark, for one answer. Raises GrammarRefused."""
        matcher = LLMatcher(self._tokenizer, LLMatcher.grammar_from_lark(_HEAD + grammar), log_level=0)
        if matcher.is_error():
            raise GrammarRefused(_words_of(matcher.get_error()))
        return Rule(matcher, self.size)


class Rule:
    """See ``shape.Constraint``."""

    def __init__(self, matcher: LLMatcher, size: int) -> None:
        self._matcher = matcher
        self._row = ctypes.c_float * size
        self._bits = np.zeros((size + 31) // 32, dtype=np.uint32)
        self._address, self._bytes = self._bits.ctypes.data, self._bits.nbytes
        self._ceiling = np.empty(size, dtype=np.float32)

    def forbid(self, logits: int) -> None:
        """See ``shape.Constraint``. Without a branch for each token, which would cost ten times the time."""
        self._matcher.unsafe_compute_mask_ptr(self._address, self._bytes)
        self._check()
        row = np.frombuffer(memoryview(self._row.from_address(logits)), dtype=np.float32)
        may = np.unpackbits(self._bits.view(np.uint8), count=row.size, bitorder="little")
        np.subtract(may, np.float32(0.5), out=self._ceiling)
        np.multiply(self._ceiling, np.float32(np.inf), out=self._ceiling)
        np.minimum(row, self._ceiling, out=row)

    def take(self, token: int) -> None:
        self._matcher.consume_token(token)
        self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise RbeeError(f"the grammar of this answer failed: {self._matcher.get_error()[:200]}")


def json_rule(schema: Mapping[str, Any], *, spaced: bool = False) -> str:
    """Return what stands for JSON by ``schema`` in a grammar.

    Args:
        spaced: with a blank after each comma and colon, as Python writes it, and as calls of tools are taught.
    """
    marks = {"item_separator": ", ", "key_separator": ": "} if spaced else {}
    return "%json " + json.dumps({**schema, "x-guidance": {**_COMPACT, **marks}})


def _words_of(error: str) -> str:
    """Return the reason in an error, without the place in a grammar that no caller has written."""
    reason = re.split(r"\n +\d+ \| |<state>", error)[0]
    return re.sub(r"^at \d+\(\d+\): |failed to compile JSON schema: ", "", " ".join(reason.split()))


class _Words:
    """What llguidance asks of a tokenizer. Which tokens a text would be it asks only where it forces them."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, pieces: Sequence[bytes], silent: frozenset[int], end: int) -> None:
        self.eos_token_id = end
        self.special_token_ids = sorted(silent)
        self.tokens = [b"\xff" + piece if token in silent else piece for token, piece in enumerate(pieces)]

    def __call__(self, _: str | bytes) -> list[int]:
        return []
