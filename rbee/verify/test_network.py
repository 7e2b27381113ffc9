"""Whether the pool and its workers can be reached from elsewhere."""

import concurrent.futures
import contextlib
import socket
import time
from urllib.parse import urlsplit

from rbee.verify.facts import POOL, Facts
from rbee.verify.host import Host
from rbee.verify.options import POOL as POOL_OPTION
from rbee.verify.options import POOL_FIREWALL, POOL_URL
from rbee.verify.unmet import does_not_apply, require

CONNECT_S = 2.0
HEAR_S = 10.0
HEARD = b"rbee"
LISTENER = (
    "import socket, sys; s = socket.create_server((sys.argv[1], int(sys.argv[2]))); s.settimeout(15); "
    "c, _ = s.accept(); c.sendall(b'rbee'); c.close()"
)


RESOLVE = "import socket, sys; print(socket.getaddrinfo(sys.argv[1], None, type=socket.SOCK_STREAM)[0][4][0])"


def test_pool_answers(facts: Facts) -> None:
    """pool-managerd answers on its host"""
    facts.needs_socket(POOL)
    pool = facts["pool"]
    mend = f"{facts.systemctl} restart rbee-pool.service; journalctl -u rbee-pool.service -n 20 --no-pager"
    found = pool["error"] or pool["health"].get("status", "ok")
    require(found, "ok", mend=mend, nixos=POOL_OPTION)


def test_pool_answers_from_here(facts: Facts) -> None:
    """The pool's port can be reached from this machine"""
    facts.needs_socket(POOL)
    address, port = _served(facts)
    try:
        socket.create_connection((address, port), timeout=CONNECT_S).close()
        problem = ""
    except OSError as error:
        problem = error.strerror or str(error)
    found = f"{problem}; {_rules(facts)}" if problem else "connected"
    require(found, "connected", holds=not problem, mend=_opened(facts, str(port)), nixos=POOL_FIREWALL)


def test_worker_ports_are_open(facts: Facts, host: Host) -> None:
    """A port of the workers' range can be reached from this machine: tried with a listener there"""
    address, _ = _served(facts)
    low, high = facts["settings"]["worker_ports"]
    taken = {int(one.rpartition(":")[2]) for one in facts["listening"]}
    port = next(number for number in range(high, low - 1, -1) if number not in taken)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        there = pool.submit(host.run, "%s -c %s %s %s", facts["executable"], LISTENER, address, str(port))
        heard = _hears(address, port, there)
    if not heard:
        own = host.run("%s -c %s %s", facts["executable"], RESOLVE, address).stdout.strip()
        require(
            f"workers listen on {own}, which {address} is there",
            f"{address} is an address that others reach",
            holds=not _is_loopback(own),
            mend=f"set [pool] url in rbee.toml to an address of this host, then: {facts.systemctl} restart rbee-pool",
            nixos=POOL_URL,
        )
    found = "reached" if heard else f"port {port} was not reached; {_rules(facts)}"
    require(found, "reached", mend=_opened(facts, f"{low}-{high}"), nixos=POOL_FIREWALL)


def _hears(address: str, port: int, there: "concurrent.futures.Future[object]") -> bool:
    """Say whether the listener was reached before it gave up."""
    while not there.done():
        with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=CONNECT_S) as connection:
            connection.settimeout(HEAR_S)
            if connection.recv(len(HEARD)) == HEARD:
                return True
        time.sleep(0.05)  # the listener starts on another machine; nothing here could be awaited
    return False


def _served(facts: Facts) -> tuple[str, int]:
    """Return where the pool says it is; the check ends when that is the host itself only."""
    answer = facts["pool"]["answer"]
    if answer is None:
        does_not_apply("the pool does not say where it is: see network.pool_answers")
    url = urlsplit(answer["url"])
    address = url.hostname or ""
    if address == "localhost" or _is_loopback(address):
        does_not_apply(f"the pool is at {answer['url']}, for its own host only")
    return address, url.port or (443 if url.scheme == "https" else 80)


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"


def _rules(facts: Facts) -> str:
    firewall = facts["firewall"]
    return (
        f"{firewall['tool']} has {firewall['rules']} lines of rules"
        if firewall["tool"]
        else "no firewall rules were seen"
    )


def _opened(facts: Facts, ports: str) -> str:
    if facts["firewall"]["tool"] == "nft":
        return f"nft insert rule inet filter input tcp dport {ports} accept"
    return f"iptables -I INPUT -p tcp --dport {ports.replace('-', ':')} -j ACCEPT"
