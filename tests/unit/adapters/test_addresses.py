import socket

import pytest

from rbee.adapters.addresses import address_towards, is_own, only_here, same_machine


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.1.1", "::1", "0.0.0.0", "::", "localhost"])
def test_loopback_and_no_address_in_particular_mean_this_machine(host: str) -> None:
    assert only_here(host)
    assert is_own(host)


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7", "nobody.invalid", "a..b", "x" * 70])
def test_what_nobody_here_has_is_not_ours(host: str) -> None:
    assert not only_here(host)
    assert not is_own(host)


def test_this_machines_own_name_is_ours_and_others_may_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"blep": "127.0.1.1", "mac": "192.0.2.7", "mac.lan": "192.0.2.7"}

    def resolve(host: str, *_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (known.get(host, host), 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert (only_here("blep"), is_own("blep"), is_own("mac")) == (False, True, False)
    assert same_machine("mac", "mac.lan")
    assert not same_machine("mac", "blep")


def test_our_address_for_others_is_never_loopback_and_one_of_ours() -> None:
    found = address_towards(["127.0.0.1", "nobody.invalid", "localhost"])
    assert found is None or (is_own(found) and not only_here(found))
