import hashlib

import pytest

from rbee.daemon.access import Access, fingerprint
from rbee.errors import NotPermitted, Unauthorized

TOKEN, OLD, KEY = "t" * 64, "o" * 64, "k" * 64
ANN = {"ann": "sha256:" + hashlib.sha256(KEY.encode()).hexdigest()}


def test_any_accepted_token_is_the_operator() -> None:
    access = Access(tokens=(TOKEN, OLD), callers=ANN, loopback=False)
    assert access.caller(f"Bearer {TOKEN}") == access.caller(f"bearer {OLD}") == ""
    assert access.caller(f"Bearer {KEY}") == "ann"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", f"Bearer {TOKEN}x", f"Token {TOKEN}"])
def test_anything_else_is_refused(header: str | None) -> None:
    with pytest.raises(Unauthorized):
        Access(tokens=(TOKEN,), callers={}, loopback=True).caller(header)


def test_a_refusal_shows_six_digits_of_the_hash_and_not_the_token() -> None:
    with pytest.raises(Unauthorized) as caught:
        Access(tokens=(TOKEN,), callers={}).caller("Bearer hunter2hunter2")
    assert fingerprint("hunter2hunter2") in caught.value.message
    assert "hunter2" not in caught.value.message


def test_loopback_without_a_token_is_one_persons_machine() -> None:
    access = Access(callers=ANN, loopback=True)
    assert access.caller(None) == ""
    assert access.caller(f"Bearer {KEY}") == "ann"
    with pytest.raises(Unauthorized):
        Access(callers=ANN, loopback=False).caller(None)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "localhost:8080", "[::1]:8080"])
def test_loopback_names_may_call(host: str) -> None:
    Access(callers={}).check_browser(host, None)


@pytest.mark.parametrize("host", [None, "evil.example:8080", "127.0.0.1.evil.example", "10.0.0.1:8080"])
def test_a_rebound_name_may_not(host: str | None) -> None:
    with pytest.raises(NotPermitted, match="expected a loopback name"):
        Access(callers={}).check_browser(host, None)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:3000", ""])
def test_a_foreign_origin_may_not(origin: str) -> None:
    with pytest.raises(NotPermitted, match="origin"):
        Access(callers={}).check_browser("127.0.0.1:8080", origin)


def test_a_listed_origin_may() -> None:
    Access(callers={}, origins=("http://ui.home",)).check_browser("127.0.0.1:8080", "http://ui.home")


def test_an_api_key_counts_where_there_is_no_authorization() -> None:
    access = Access(tokens=(TOKEN,), callers=ANN, loopback=False)
    assert access.caller(None, TOKEN) == ""
    assert access.caller(None, KEY) == "ann"
    assert access.caller(f"Bearer {TOKEN}", "wrong" * 9) == ""
    for authorization, key in ((None, None), (None, ""), (None, "wrong" * 9), (f"Basic {TOKEN}", TOKEN)):
        with pytest.raises(Unauthorized):
            access.caller(authorization, key)
