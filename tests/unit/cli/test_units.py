import pytest

from rbee.cli.units import parse_bytes, parse_float, parse_int, parse_seconds, seconds_text
from rbee.errors import InvalidRequest
from rbee.wire.words import bytes_text, counted


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("600M", 600 << 20),
        ("2G", 2 << 30),
        ("1.5g", 3 << 29),
        ("2GiB", 2 << 30),
        ("64kB", 64 << 10),
        ("1T", 1 << 40),
        ("1048576", 1 << 20),
        ("10 M", 10 << 20),
    ],
)
def test_sizes_are_binary_as_those_of_systemd(text: str, count: int) -> None:
    assert parse_bytes(text, "--memory") == count


@pytest.mark.parametrize("text", ["", "M", "-1M", "3x", "1e9", "0x10", "one"])
def test_what_is_no_size_names_its_option(text: str) -> None:
    with pytest.raises(InvalidRequest, match=f"--memory is {text!r}, expected a size like 600M or 2G"):
        parse_bytes(text, "--memory")


def test_numbers() -> None:
    assert parse_int("12", "-n") == 12
    assert parse_int(None, "-n") is None
    assert parse_float("0.5", "-t") == 0.5
    assert parse_float(None, "-t") is None
    assert parse_seconds("2.5", "--timeout") == 2.5


@pytest.mark.parametrize("text", ["x", "", "1.5"])
def test_what_is_no_whole_number(text: str) -> None:
    with pytest.raises(InvalidRequest, match=f"--slots is {text!r}, expected a whole number"):
        parse_int(text, "--slots")


@pytest.mark.parametrize("text", ["x", "", "nan", "inf", "-inf"])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(InvalidRequest, match=f"--top-p is {text!r}, expected a number"):
        parse_float(text, "--top-p")


@pytest.mark.parametrize("text", ["0", "-1"])
def test_a_timeout_is_above_0(text: str) -> None:
    with pytest.raises(InvalidRequest, match="expected seconds above 0"):
        parse_seconds(text, "--timeout")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (2.1 * (1 << 30), "2.1 GiB"), (1 << 50, "1024.0 TiB")],
)
def test_bytes_as_people_read_them(count: float, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (3.4, "3.4 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (12_000, "3 h 20 min"),
        (352_800, "4 d 2 h"),
    ],
)
def test_durations_as_people_read_them(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_one_is_no_plural() -> None:
    assert [counted(number, "worker") for number in (0, 1, 2)] == ["0 workers", "1 worker", "2 workers"]
