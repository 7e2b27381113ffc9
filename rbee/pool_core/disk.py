"""What is reckoned of a disk on which workers keep conversations; for who plans, and who writes. Pure."""

SLOW_BYTES_PER_S = 100e6
"""What any disk writes; who waits for one waits as long as that takes."""

SPARE_BYTES = 1 << 30
SPARE_SHARE = 20
"""What is left of a disk to everybody else: a twentieth of it, and no more than that many bytes."""


def spare_bytes(size_bytes: int) -> int:
    """Return what stays free of a disk of this size."""
    return min(SPARE_BYTES, size_bytes // SPARE_SHARE)
