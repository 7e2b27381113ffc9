"""What an event weighs in memory while it is kept; about, but of everything that may be large in it."""

from rbee.wire.events import Call, JobEvent, Likelihood, Rival, Token, Vector

_OBJECT_BYTES, _NUMBER_BYTES = 120, 32
"""Of an event or a text, with what Python notes of it; of a number in a row."""


def weight(event: JobEvent) -> int:
    match event:
        case Token():
            return (
                2 * _OBJECT_BYTES + _text(event.t) + _NUMBER_BYTES * len(event.ids) + sum(map(_heard, event.logprobs))
            )
        case Call():
            return 2 * _OBJECT_BYTES + _text(event.arguments) + _NUMBER_BYTES * len(event.ids)
        case Vector():
            return 2 * _OBJECT_BYTES + len(event.data)
    return _OBJECT_BYTES


def _heard(likelihood: Likelihood) -> int:
    return _rival(likelihood) + sum(map(_rival, likelihood.top))


def _rival(rival: Rival) -> int:
    return 2 * _OBJECT_BYTES + _text(rival.token) + 8 * len(rival.bytes)


def _text(text: str) -> int:
    return len(text) if text.isascii() else 4 * len(text)
