"""Grammars as llguidance takes them, within its limits. Without numpy: every new grammar is tried in a new process."""

import re
from collections.abc import Sequence

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from rbee.llm_worker.schema import GrammarRefused

_HEAD = '%llguidance {"no_forcing": true}\n'
"""Every grammar begins with it: where only one text can follow the model still chooses how that is cut into tokens."""

_LIMITS = LLParserLimits(
    step_lexer_fuel=100_000,
    max_lexer_states=25_000,
    verbose_errors=False,
)
"""What one token may cost the thread that computes for all. With 150,000 tokens in the vocabulary, on one core of a
server, a step that runs out of fuel takes 10 ms, and an answer's states at most 33 MB. What people write needs a fifth
of the fuel: patterns of Unicode's classes take 2 ms, formats 1 ms, 256 optional properties 0.4 ms, at most.

Verbose errors repeat what the model has said.
"""


def tokenizer_of(pieces: Sequence[bytes], *, silent: frozenset[int], ends: Sequence[int]) -> LLTokenizer:
    """Return a vocabulary as llguidance knows one.

    Args:
        pieces: the bytes of each token, by its number.
        silent: tokens that no text has, whatever their bytes are.
        ends: tokens that end an answer.
    """
    return LLTokenizer(_Words(pieces, silent, ends[0] if ends else 0), eos_token=list(ends))  # type: ignore[arg-type]


def matcher_of(tokenizer: LLTokenizer, grammar: str) -> LLMatcher:
    """Return what follows ``grammar``, in llguidance's Lark. Raises GrammarRefused."""
    matcher = LLMatcher(tokenizer, LLMatcher.grammar_from_lark(_HEAD + grammar), log_level=0, limits=_LIMITS)
    if matcher.is_error():
        raise GrammarRefused(_words_of(matcher.get_error()))
    return matcher


def too_much(matcher: LLMatcher) -> bool:
    """Say whether a matcher has failed for want of fuel or room, and not because something may not follow."""
    return re.match(r"(lexer|parser) error: (too many|current row has)", matcher.get_error(), re.IGNORECASE) is not None


def _words_of(error: str) -> str:
    """Return the reason in an error, without the place in a grammar that no caller has written."""
    reason = re.split(r"\n +\d+ \| |<state>|<non-verbose/>", error)[0]
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
