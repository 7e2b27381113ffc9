"""How numbers stand in sentences, wherever a sentence is made."""


def counted(number: int, noun: str) -> str:
    """Return ``1 worker``, ``2 workers``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
