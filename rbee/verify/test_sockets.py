"""Where rbee can be reached on the host."""

import re
from urllib.parse import urlsplit

from rbee.verify.facts import BROKER, POOL, QUEEN, Facts
from rbee.verify.options import POOL as POOL_OPTION
from rbee.verify.options import POOL_LISTEN
from rbee.verify.options import QUEEN as QUEEN_OPTION
from rbee.verify.unmet import require

_STREAM = re.compile(r"(\S+) \(Stream\)")


def test_pool_socket_is_active(facts: Facts) -> None:
    """rbee-pool.socket is active"""
    _active(facts, POOL, POOL_OPTION)


def test_pool_socket_listens(facts: Facts) -> None:
    """The kernel listens at every address of rbee-pool.socket"""
    _listens(facts, POOL, POOL_OPTION)


def test_pool_listens_where_hive_looks(facts: Facts) -> None:
    """rbee-pool.socket listens on the port at which [hive] pool, its own command, looks for it"""
    facts.needs_socket(POOL)
    url = facts["pool"]["url"]
    port = urlsplit(url).port or 80
    streams = _streams(facts, POOL)
    require(
        streams,
        f"port {port}, as [hive] pool = {url}",
        holds=any(stream.endswith(f":{port}") for stream in streams),
        mend=f"rbee-hive join --queen={facts['settings']['queen']} --url={url} </etc/rbee/token",
        nixos=POOL_LISTEN,
    )


def test_broker_socket_is_active(facts: Facts) -> None:
    """rbee-broker.socket is active: without it user rbee can start no worker"""
    facts.system_mode_only()
    _active(facts, BROKER, POOL_OPTION)


def test_broker_socket_is_for_rbee_only(facts: Facts) -> None:
    """Only user rbee may connect to the broker"""
    facts.system_mode_only()
    facts.needs_socket(BROKER)
    found = facts.path("/run/rbee/broker.sock")
    shown = f"{found.get('mode', 'missing')} {found.get('owner', '')}".strip()
    require(shown, "0600 rbee", mend="systemctl restart rbee-broker.socket", nixos=POOL_OPTION)


def test_queen_socket_is_active(facts: Facts) -> None:
    """rbee-queen.socket is active, where a queen is"""
    facts.queen_only()
    _active(facts, QUEEN, QUEEN_OPTION)


def test_queen_socket_listens(facts: Facts) -> None:
    """The kernel listens at every address of rbee-queen.socket, where a queen is"""
    facts.queen_only()
    _listens(facts, QUEEN, QUEEN_OPTION)


def _active(facts: Facts, program: str, option: str) -> None:
    unit = f"{program}.socket"
    state = facts.unit(unit).get("ActiveState", "not there")
    require(state, "active", mend=f"{facts.systemctl} start {unit}", nixos=option)


def _listens(facts: Facts, program: str, option: str) -> None:
    facts.needs_socket(program)
    missing = [stream for stream in _streams(facts, program) if not _heard(stream, facts["listening"])]
    require(
        f"nothing at {', '.join(missing)}" if missing else "all heard",
        "all heard",
        mend=f"{facts.systemctl} stop {program}.service; {facts.systemctl} restart {program}.socket",
        nixos=option,
    )


def _streams(facts: Facts, program: str) -> list[str]:
    return _STREAM.findall(facts.unit(f"{program}.socket").get("Listen", ""))


def _heard(stream: str, listening: list[str]) -> bool:
    """Say whether the kernel listens there; a name, or a port alone, by its port."""
    _, _, port = stream.rpartition(":")
    if stream.startswith("/"):
        return True
    return stream in listening or (not stream[0].isdigit() and any(one.endswith(f":{port}") for one in listening))
