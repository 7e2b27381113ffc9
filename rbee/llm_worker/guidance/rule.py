"""What may follow in one answer, as a row of its logits."""

import ctypes
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from llguidance import LLMatcher

from rbee.errors import InvalidRequest, RbeeError
from rbee.llm_worker.guidance import trial
from rbee.llm_worker.guidance.matcher import matcher_of, tokenizer_of, too_much
from rbee.llm_worker.schema import GrammarRefused

_COMPACT = {
    "whitespace_flexible": False,  # a small model that may say blanks says nothing else
    "lenient": False,
    # Without \u: a name could be spelled with it so that it is not recognised as the property it is.
    "json_allowed_escapes": 'nrbtf\\"',
}


class Lexicon:
    """A vocabulary, made ready for any number of grammars; takes a tenth of a second for a large one. See
    ``tokenizer_of``.
    """

    def __init__(self, pieces: Sequence[bytes], *, silent: frozenset[int], ends: Sequence[int]) -> None:
        self.size = len(pieces)
        self._tokenizer = tokenizer_of(pieces, silent=silent, ends=ends)

    def rule(self, grammar: str) -> "Rule":
        """Return ``grammar``, in llguidance's Lark, for one answer. Blocks.

        Raises:
            GrammarRefused: it cannot be obeyed, or that takes too much. Timeout, NoCapacity: that was not found out.
        """
        trial.attempt(grammar)
        rule = Rule(matcher_of(self._tokenizer, grammar), self.size)
        rule.look()
        return rule


class Rule:
    """See ``shape.Constraint``."""

    def __init__(self, matcher: LLMatcher, size: int) -> None:
        self._matcher = matcher
        self._row = ctypes.c_float * size
        self._bits = np.zeros((size + 31) // 32, dtype=np.uint32)
        self._address, self._bytes = self._bits.ctypes.data, self._bits.nbytes
        self._ceiling = np.empty(size, dtype=np.float32)

    def look(self) -> None:
        """Find out what may come first, while nobody waits for it: that costs most. Raises GrammarRefused."""
        self._matcher.unsafe_compute_mask_ptr(self._address, self._bytes)
        if self._matcher.is_error():
            raise GrammarRefused("what may come first takes too much to find out")

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
        """Raise what failed, not in llguidance's words: they hold the answer's, which nobody but its reader is told."""
        if not self._matcher.is_error():
            return
        if too_much(self._matcher):
            raise InvalidRequest(
                "the schema, or that of a tool, leaves so much open that what may follow takes too much to find out",
                hint="use fewer optional properties, alternatives and counted repetitions: docs/openai.md, limits",
            )
        raise RbeeError("the answer left its grammar")


def json_rule(schema: Mapping[str, Any], *, spaced: bool = False) -> str:
    """Return what stands for JSON by ``schema`` in a grammar.

    Args:
        spaced: with a blank after each comma and colon, as Python writes it, and as calls of tools are taught.
    """
    marks = {"item_separator": ", ", "key_separator": ": "} if spaced else {}
    return "%json " + json.dumps({**schema, "x-guidance": {**_COMPACT, **marks}})
