"""Models on this host's disk. ``open_store`` is the way in."""

from rbee.adapters.model_store.store import FileModelStore, open_store

__all__ = ("FileModelStore", "open_store")
