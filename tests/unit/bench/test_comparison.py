"""The rows of bench.engine, from numbers that are made up here."""

from xml.etree import ElementTree

import pytest

from bench.comparison import COLUMNS, Found, bars, table
from bench.report import Table
from bench.servers import LLAMA_CPP_SERVER, LLAMA_SERVER, RBEE
from bench.trials import Beside, Chat, Streams


def found(speed: float, *, python_us: float | None = None, second_ms: float = 50.0, beside: bool = True) -> Found:
    """Return three rounds, of which the last is an odd one."""
    rounds = [
        Streams(tokens_s=each, first_ms=[10.0, 20.0], cpu_us=9.0, python_us=python_us)
        for each in (speed, speed, speed * 5)
    ]
    return Found(
        streams={1: rounds, 8: rounds},
        prompt_s=[2.0, 2.0, 4.0],
        prompt_tokens=[2000, 2000, 2000] if beside else [0, 0, 0],
        beside=[Beside(gaps_ms=[30.0, 40.0], first_ms=900.0)] if beside else [],
        chat=[Chat(first_ms=1000.0, second_ms=second_ms)] * 3,
        rss_mb=300.0,
    )


def made(**servers: Found) -> Table:
    named = {RBEE: servers["rbee"], LLAMA_SERVER: servers["theirs"], LLAMA_CPP_SERVER: servers["python"]}
    return table(named, name="engine", ran="Once.", machine="here", counts=[1, 8], chat_tokens=1500)


@pytest.fixture
def rows() -> dict[str, dict[str, object]]:
    shown = made(rbee=found(97.0, python_us=100.0), theirs=found(100.0), python=found(40.0, beside=False))
    return {str(row[""]): row for row in shown.plain()["rows"]}


def test_a_number_is_the_median_of_the_rounds_and_a_ratio_too(rows: dict[str, dict[str, object]]) -> None:
    one = rows["tokens/s, 1 stream"]
    assert (one["machine"], one[RBEE], one[LLAMA_SERVER], one[LLAMA_CPP_SERVER]) == ("here", 97.0, 100.0, 40.0)
    assert one[f"{RBEE} : {LLAMA_SERVER}"] == pytest.approx(0.97)
    assert rows["CPU µs a token, 8 streams"][RBEE] == 9.0


def test_goals_are_judged_and_one_that_is_missed_is_told(rows: dict[str, dict[str, object]]) -> None:
    assert rows["tokens/s, 1 stream"]["goal"] == "at least 0.97 × llama-server: met"
    assert rows["tokens/s, 8 streams"]["goal"] == (
        "at least 0.95 × llama-server: met; at least 3 × llama_cpp.server: MISSED"
    )
    assert rows["first turn : second turn"]["goal"] == "at least 10 ×: met"


def test_who_answers_one_after_the_other_has_no_gaps_and_what_is_not_told_is_empty(
    rows: dict[str, dict[str, object]],
) -> None:
    gaps = rows["4 streams while that prompt arrives: gap p99 ms"]
    assert (gaps[RBEE], gaps[LLAMA_CPP_SERVER]) == (40.0, "")
    python = rows["Python's part of that, 8 streams"]
    assert (python[RBEE], python[LLAMA_SERVER]) == (100.0, "")


def test_a_prompt_whose_length_one_server_does_not_tell_is_as_long_as_another_says(
    rows: dict[str, dict[str, object]],
) -> None:
    assert rows["prompt read, tokens/s (2,000 tokens)"][LLAMA_CPP_SERVER] == 1000.0


def test_the_picture_is_an_svg_with_a_bar_for_each_number() -> None:
    drawn = bars(made(rbee=found(97.0), theirs=found(100.0), python=found(40.0, beside=False)))
    assert drawn is not None
    root = ElementTree.fromstring(drawn.svg())
    texts = ["".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("97") == 2
    assert {"1 stream", "8 streams", RBEE, LLAMA_SERVER, LLAMA_CPP_SERVER, "tokens/s, here"} <= set(texts)


def test_a_peer_that_was_left_out_is_an_empty_column_and_in_no_picture() -> None:
    shown = table({RBEE: found(9.0)}, name="engine", ran="", machine="here", counts=[1, 8], chat_tokens=9)
    assert [row[COLUMNS.index(LLAMA_SERVER)] for row in shown.rows] == [""] * len(shown.rows)
    drawn = bars(shown)
    assert drawn is not None
    assert list(drawn.series) == [RBEE]


def test_a_table_without_speeds_has_no_picture() -> None:
    assert bars(Table(name="store", ran="", columns=("", "ms"), rows=[["a", 1.0]])) is None
