"""What the servers are asked: texts of a known length, each unlike all others from its first word on."""

import random
from collections.abc import Mapping

Message = Mapping[str, str]

# Each is one token, with the space before it, for most models.
_NOUNS = "river mountain garden winter summer letter window bridge captain teacher sister market village island forest"
_MORE = "silver copper paper music story dinner morning evening doctor farmer horse ship train road stone glass cloud"
_SIMPLE = "light water fire earth wind house door table chair bread apple orange green yellow black white small large"
_OTHERS = "early late quiet heavy broken open closed young old good long short north south east west"
_WORDS = f"{_NOUNS} {_MORE} {_SIMPLE} {_OTHERS}".split()


def question(number: int) -> list[Message]:
    """Return a short question whose answer is long; each ``number`` another."""
    random_ = random.Random(number)
    first, second, third = random_.sample(_WORDS, 3)
    text = (
        f"{first.capitalize()} {second} {number}: write a long story of ten paragraphs about a {third} that was lost."
    )
    return [{"role": "user", "content": text}]


def long(tokens: int, number: int) -> list[Message]:
    """Return a question of about so many tokens; each ``number`` another."""
    random_ = random.Random(number)
    words = " ".join(random_.choices(_WORDS, k=tokens - 60))
    return [{"role": "user", "content": f"Text {number}. {words}. Which of these words did you like, and why?"}]
