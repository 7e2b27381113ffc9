"""rbee: somebody's own machines as one service for language models, native to systemd."""

__version__ = "0.1.0"
