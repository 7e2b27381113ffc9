"""The owner's script that decides, in a process of its own: whatever it does there, the queen goes on."""

from rbee.adapters.policy.confined import LIMIT_S, PolicyScript

__all__ = ["LIMIT_S", "PolicyScript"]
