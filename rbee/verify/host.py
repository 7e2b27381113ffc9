"""The door to testinfra: it ships no types, so the hole is one file wide."""

from testinfra.host import Host  # type: ignore[import-untyped]

__all__ = ["Host"]
