"""Measurements. Each says what it ran, how often, and measures a peer in the same run."""
