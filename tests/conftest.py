"""Plugins of the whole test suite."""

pytest_plugins = ["tests.hub.plugin", "tests.rig.plugin"]
