"""What join decides before it changes anything; what it does is in tests/fleet."""

import io
from pathlib import Path

import pytest

from rbee.errors import InvalidRequest
from rbee.hive import joining
from tests.unit.hive.conftest import run

JOIN = ("join", "--queen", "http://127.0.0.1:1", "--url", "http://127.0.0.1:9200")


def stdin(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


@pytest.mark.parametrize(
    ("url", "listen"), [("http://10.0.0.3:9200", "10.0.0.3:9200"), ("https://[fd00::3]:9200", "[fd00::3]:9200")]
)
def test_it_listens_where_it_is_to_be_reached(url: str, listen: str) -> None:
    assert joining._listen(url) == listen


@pytest.mark.parametrize("url", ["http://10.0.0.3", "nonsense", ""])
def test_a_url_without_a_port_is_none(url: str) -> None:
    with pytest.raises(InvalidRequest, match="expected http://host:port"):
        joining._listen(url)


@pytest.mark.parametrize("text", ["", "short", "x" * 15])
async def test_no_token_on_standard_input_changes_nothing(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    stdin(monkeypatch, text)
    done = await run(*JOIN)
    assert (done.code, "holds no token" in done.err) == (64, True)


async def test_a_queen_that_is_not_there_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stdin(monkeypatch, "0123456789abcdef\n")
    before = (tmp_path / "rbee.toml").read_text()
    done = await run(*JOIN)
    assert done.code == 69
    assert "from this host, queen at http://127.0.0.1:1 cannot be reached" in done.err
    assert (tmp_path / "rbee.toml").read_text() == before


async def test_a_name_as_an_address_to_listen_at_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, "0123456789abcdef\n")
    done = await run("join", "--queen", "http://a:1", "--url", "http://mac.home.arpa:9200")
    assert (done.code, "mac.home.arpa is a name; a socket listens at an address" in done.err) == (64, True)
    assert "hint: say that as well: --listen=9200 is every address of this host" in done.err
