"""One bridge in the rig, one link per host, and how to cut it.

systemd-nspawn makes the link (``vb-<host>`` on our side, ``host0`` inside); the address is set by the host.
"""

from tests.rig.errors import RigError, call

BRIDGE = "br-rig"
CONTROLLER_IP = "10.77.0.1"
DOMAIN = "home.arpa"
WELL_KNOWN = {"blep": 10, "workstation": 11, "mac": 12}
FIRST_FREE = 20
NAME_MAX = 12  # an interface name has 15 characters, and "vb-" takes three


def address(number: int) -> str:
    """Return the address of the host with this number."""
    return f"10.77.0.{number}"


def link(host: str) -> str:
    """Return our side of a host's link.

    Raises:
        RigError: the name would not fit.
    """
    if len(host) > NAME_MAX:
        raise RigError(f"host name {host!r} has {len(host)} characters, {NAME_MAX} are possible")
    return f"vb-{host}"


def create_bridge() -> None:
    """Make the bridge, with the controller's own address on it."""
    call("ip", "link", "add", BRIDGE, "type", "bridge")
    call("ip", "addr", "add", f"{CONTROLLER_IP}/24", "dev", BRIDGE)
    call("ip", "link", "set", BRIDGE, "up")


def set_link(host: str, *, up: bool) -> None:
    """Plug a host's cable in or out."""
    call("ip", "link", "set", link(host), "up" if up else "down")


def set_isolated(host: str, *, isolated: bool) -> None:
    """Let two isolated hosts lose each other, while the controller and all others still reach both."""
    call("ip", "link", "set", link(host), "type", "bridge_slave", "isolated", "on" if isolated else "off")


def forget_link(host: str) -> None:
    """Remove what a killed host may leave for a moment: its network namespace is taken down in the background."""
    call("ip", "link", "delete", link(host), check=False)


def hosts_file(numbers: dict[str, int]) -> str:
    """Return /etc/hosts for the controller and for every host."""
    lines = ["127.0.0.1 localhost", "::1 localhost", f"{CONTROLLER_IP} controller.{DOMAIN} controller"]
    lines += [f"{address(number)} {name}.{DOMAIN} {name}" for name, number in numbers.items()]
    return "\n".join(lines) + "\n"
