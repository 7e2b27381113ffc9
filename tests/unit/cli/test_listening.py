import socket

import pytest

from rbee.cli.listening import _is_taken, checked, is_loopback, local
from rbee.errors import InvalidRequest


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("8080", "8080"),
        ("192.168.1.5:8080", "192.168.1.5:8080"),
        ("[fe80::1]:8080", "[fe80::1]:8080"),
        ("127.0.0.1:1", "127.0.0.1:1"),
    ],
)
def test_what_a_socket_unit_takes(given: str, taken: str) -> None:
    assert checked(given) == taken


@pytest.mark.parametrize(
    "given",
    [
        "",
        "0",
        "10.0.0.1:0",
        "²",
        "blep:8080",
        "1.2.3.4",
        "65536",
        "1.2.3.4:70000",
        "1.2.3.4:8080\nExecStart=/x",
        "/run/x",
    ],
)
def test_what_it_does_not(given: str) -> None:
    with pytest.raises(InvalidRequest, match="expected an IP address with a port"):
        checked(given)


@pytest.mark.parametrize("given", ["8080", "127.0.0.1:8080", "0.0.0.0:8080", "[::]:8080"])
def test_an_address_of_this_host_is_local(given: str) -> None:
    assert local(given) == given


@pytest.mark.parametrize("given", ["192.0.2.7:8080", "[2001:db8::7]:8080"])  # set aside for documentation: nobody's
def test_an_address_of_another_host_is_not(given: str) -> None:
    with pytest.raises(InvalidRequest, match="no interface of this host has the address of ") as refused:
        local(given)
    assert refused.value.hint.startswith("ip -brief address")


def test_what_only_this_machine_reaches() -> None:
    assert is_loopback("127.0.0.1:8080")
    assert is_loopback("[::1]:8080")
    assert not is_loopback("8080")


@pytest.mark.parametrize("there", ["127.0.0.1", "0.0.0.0", "::1"])
def test_a_port_that_another_program_has_is_taken(there: str) -> None:
    family = socket.AF_INET6 if ":" in there else socket.AF_INET
    with socket.create_server((there, 0), family=family) as other:
        port = other.getsockname()[1]
        host = f"[{there}]" if ":" in there else there
        assert _is_taken(f"{host}:{port}")
        assert _is_taken(str(port))
    assert not _is_taken(str(port))
