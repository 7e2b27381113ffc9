"""Every feature file beside this one, each scenario a test."""

import pytest
from pytest_bdd import scenarios

pytestmark = pytest.mark.usefixtures("controller")  # before pytest-bdd asks for it: the rig is entered at the start

scenarios(".")
