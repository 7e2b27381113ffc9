from pathlib import Path

import pytest

from rbee.adapters.nixos import here
from rbee.adapters.nixos.flake import Flake
from rbee.errors import InvalidRequest, NotFound

HOME = Path("/home/me/house")


@pytest.mark.parametrize(
    ("text", "url", "attribute"),
    [
        (".", "/home/me/house", ""),
        ("..", "/home/me", ""),
        ("./nix", "/home/me/house/nix", ""),
        ("./nix/../other", "/home/me/house/other", ""),
        ("/etc/../etc/nixos/", "/etc/nixos", ""),
        (".?dir=nix", "/home/me/house?dir=nix", ""),
        ("/etc/nixos#mac", "/etc/nixos", "mac"),
        ("#mac", "/home/me/house", "mac"),
        (".#mac.home.arpa", "/home/me/house", "mac.home.arpa"),
        ("github:me/house/main", "github:me/house/main", ""),
        ("git+ssh://git@blep/house?ref=main#workstation", "git+ssh://git@blep/house?ref=main", "workstation"),
        ("house", "house", ""),
    ],
)
def test_a_folder_is_absolute_and_the_rest_stays(text: str, url: str, attribute: str) -> None:
    assert Flake.parse(text, folder=HOME) == Flake(url=url, attribute=attribute)


def test_a_tilde_that_no_shell_has_read_is_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert Flake.parse("~/house#mac", folder=Path("/")) == Flake(url="/home/me/house", attribute="mac")


@pytest.mark.parametrize(("text", "folder"), [("my house", "/"), (".", "/home/my house")])
def test_a_folder_that_nix_does_not_take_is_said_to_be_one(text: str, folder: str) -> None:
    with pytest.raises(InvalidRequest, match="a space in its name"):
        Flake.parse(text, folder=Path(folder))


@pytest.mark.parametrize("text", ["", "--impure", "-", "a\nb", "-x#mac", "\x1b[2J"])
def test_what_is_an_option_or_nothing_is_no_flake(text: str) -> None:
    with pytest.raises(InvalidRequest, match="--flake is"):
        Flake.parse(text, folder=HOME)


@pytest.mark.parametrize("name", ["", '"', "a b", "mac^out", "-mac", "mac'", "${x}", "mac#mac"])
def test_what_would_be_more_than_a_name_is_no_configuration(name: str) -> None:
    with pytest.raises(InvalidRequest, match="is no name of a configuration"):
        Flake.parse(f".#{name}", folder=HOME)


def test_a_name_with_a_dot_is_one_attribute() -> None:
    flake = Flake.parse(".", folder=HOME)
    assert flake.of("mac") == "/home/me/house#mac"
    assert flake.inside("mac", "system") == "/home/me/house#nixosConfigurations.mac.config.system"
    assert flake.inside("mac.arpa") == '/home/me/house#nixosConfigurations."mac.arpa".config'
    assert flake.inside("1st") == '/home/me/house#nixosConfigurations."1st".config'
    named = Flake(url="house", attribute="one")
    assert (named.of("mac"), named.inside("mac")) == ("house#one", "house#nixosConfigurations.one.config")


def test_a_folder_without_a_flake_is_said(tmp_path: Path) -> None:
    below = tmp_path / "a/b"
    with pytest.raises(NotFound, match=r"a/b: there is no such folder$"):
        here.require_flake(Flake(url=str(below)))
    below.mkdir(parents=True)
    with pytest.raises(NotFound, match=r"a/b: there is no flake\.nix in it$"):
        here.require_flake(Flake(url=str(below)))
    (tmp_path / "flake.nix").touch()
    here.require_flake(Flake(url=str(below)))
    here.require_flake(Flake(url="github:me/house"))
    here.require_flake(Flake(url="/nowhere?dir=nix"))
