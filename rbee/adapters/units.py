"""The UnitManager that this process may use."""

import os
from collections.abc import Mapping

from rbee.adapters import places
from rbee.adapters.broker import BrokerUnits
from rbee.adapters.systemd.units import SystemdUnits
from rbee.config import Settings
from rbee.pool_core.unit import Mode


def open_units(settings: Settings, environ: Mapping[str, str]) -> SystemdUnits | BrokerUnits:
    """Return the way to workers: systemd itself for root and in user mode, the broker for user rbee.

    Raises:
        ConfigInvalid: there is no worker program.
    """
    mode = places.mode(settings)
    place = places.place(settings, mode, environ)
    if mode is Mode.SYSTEM and os.geteuid() != 0:
        return BrokerUnits(place, places.BROKER_SOCKET)
    return SystemdUnits(place)
