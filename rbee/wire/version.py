"""Which versions of rbee understand each other."""

HEADER = "X-Rbee-Version"
"""Every answer of a daemon carries it."""


def same_line(one: str, other: str) -> bool:
    """Say whether two versions differ in their last number at most."""
    return one.split(".")[:2] == other.split(".")[:2]
