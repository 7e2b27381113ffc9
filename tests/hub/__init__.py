"""A loopback hub for tests: the ``hub`` fixture (tests/hub/plugin.py), or ``python -m tests.hub`` inside a host."""

from tests.hub.app import Asked, HubState, create_hub
from tests.hub.faults import Faults

__all__ = ["Asked", "Faults", "HubState", "create_hub"]
