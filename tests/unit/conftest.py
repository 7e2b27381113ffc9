"""Two shared cores make any clock lie; hypothesis is told not to judge by one, and limits of ours are longer here."""

import pytest
from hypothesis import HealthCheck, settings

from rbee.client.endpoint import CONNECT_S
from rbee.queen.counting import COUNT_S
from tests.rig.waiting import PATIENCE

settings.register_profile("shared-cores", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared-cores")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is there answers, if late; tests of who is not set limits of their own."""
    monkeypatch.setattr("rbee.client.http.CONNECT_S", CONNECT_S * PATIENCE)
    monkeypatch.setattr("rbee.client.line_client.CONNECT_S", CONNECT_S * PATIENCE)
    monkeypatch.setattr("rbee.queen.counting.COUNT_S", COUNT_S * PATIENCE)
