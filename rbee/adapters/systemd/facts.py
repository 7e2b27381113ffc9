"""What the manager says of a pair of units, as UnitFacts. Pure."""

from collections.abc import Mapping
from typing import Any

from rbee.adapters.llama_builds import LIB_VARIABLE
from rbee.pool_core.ports import UnitFacts, UnitLimits
from rbee.pool_core.unit import STOP_MARGIN_S

_UNSET = (1 << 64) - 1


def unit_facts(
    worker: str, argv: tuple[str, ...], *, service: Mapping[str, Any], states: Mapping[str, str]
) -> UnitFacts:
    """Return the facts, as far as they need no clock.

    Args:
        service: properties of the Service interface.
        states: ``service``, ``service_sub`` and ``socket``, as systemd calls them.
    """
    return UnitFacts(
        id=worker,
        argv=argv,
        service_state=states["service"],
        service_sub_state=states["service_sub"],
        socket_state=states["socket"],
        result=_text(service.get("Result")),
        status_text=_text(service.get("StatusText")),
        restarts=int(service.get("NRestarts") or 0),
        pid=int(service.get("MainPID") or 0) or None,
        memory_current_bytes=_number(service.get("MemoryCurrent")),
        memory_limit_bytes=_number(service.get("MemoryMax")),
        since_ms=None,
        cpu_percent=None if (quota := _number(service.get("CPUQuotaPerSecUSec"))) is None else round(quota / 10_000),
        limits=_limits(service),
    )


def _limits(service: Mapping[str, Any]) -> UnitLimits:
    """Return what ``pool_core.unit`` made of the settings; of a watchdog, say, nobody knows before the first start."""
    environment = (_text(each).partition("=") for each in service.get("Environment") or ())
    return UnitLimits(
        load_timeout_s=_seconds(service.get("TimeoutStartUSec")),
        stop_grace_s=_seconds(service.get("TimeoutStopUSec"), but_s=STOP_MARGIN_S),
        watchdog_s=_seconds(service.get("WatchdogUSec")),
        llama_lib=next((value for name, _, value in environment if name == LIB_VARIABLE), ""),
    )


def _seconds(usec: object, *, but_s: float = 0.0) -> float | None:
    number = _number(usec)
    return None if number is None else round(number / 1e6 - but_s, 3)


def argv_of(service: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the command line in ``ExecStart``; empty when there is none."""
    commands = service.get("ExecStart") or []
    return tuple(_text(word) for word in commands[0][1]) if commands else ()


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and value != _UNSET else None


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""
