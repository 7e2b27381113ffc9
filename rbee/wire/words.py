"""How numbers stand in sentences, wherever a sentence is made."""

_STEP = 1024


def counted(number: int, noun: str) -> str:
    """Return ``1 worker``, ``2 workers``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def bytes_text(count: float) -> str:
    """Return ``2.1 GiB``."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < _STEP:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= _STEP
    return f"{size:.1f} TiB"
