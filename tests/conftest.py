"""Plugins of the whole test suite."""

pytest_plugins = [
    "tests.hub.plugin",
    "tests.rig.plugin",
    "tests.features.steps.acting",
    "tests.features.steps.breaking",
    "tests.features.steps.seeing",
]
