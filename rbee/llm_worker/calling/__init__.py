"""Calls of tools: how a model is told of them, how it calls, and how that is heard."""
