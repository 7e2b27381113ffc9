"""The benches' tables, and their places in docs/performance.md. What they measure is measured by hand."""

import importlib
import json
from pathlib import Path

import pytest

from bench.__main__ import ELSEWHERE, NAMES, PAGE, picture, put, tables
from bench.comparison import COLUMNS
from bench.report import Table, goal, least, missed, percentile

TABLE = Table(name="store", ran="Once.", columns=("", "p50 ms", "goal"), rows=[["a", 1.5, goal(1.5, 1)], ["b", 12, ""]])


def test_the_page_has_a_place_for_each_bench_and_the_rest_stays() -> None:
    page = PAGE.read_text()
    for name in (*NAMES, *ELSEWHERE):
        changed = put(page, Table(name=name, ran="Now.", columns=("",), rows=[["x"]]))
        begin, end = f"<!-- bench.{name} -->", f"<!-- end of bench.{name} -->"
        assert changed.partition(begin)[2].partition(end)[0] == "\nNow.\n\n|   |\n|---|\n| x |\n"
        assert changed.partition(begin)[0] == page.partition(begin)[0]
        assert changed.partition(end)[2] == page.partition(end)[2]


def test_a_page_without_a_place_is_not_touched_in_silence() -> None:
    with pytest.raises(ValueError, match=r"has no <!-- bench.store -->"):
        put("nothing here", TABLE)


@pytest.mark.parametrize("name", NAMES)
def test_each_bench_can_be_run_and_says_what_it_does(name: str) -> None:
    module = importlib.import_module(f"bench.{name}")
    assert f"python -m bench.{name}" in module.__doc__
    assert callable(module.measure)


def test_a_table_reads_as_markdown_and_survives_json() -> None:
    assert TABLE.markdown().splitlines() == [
        "|   | p50 ms | goal                 |",
        "|---|--------|----------------------|",
        "| a |   1.50 | at most 1 ms: MISSED |",
        "| b |     12 |                      |",
    ]
    assert Table.of(TABLE.plain()).markdown() == TABLE.markdown()


def test_a_goal_that_is_missed_is_said_and_counted() -> None:
    assert missed(TABLE)
    assert not missed(Table(name="x", ran="", columns=("",), rows=[[goal(1, 1)]]))


def test_a_goal_that_may_not_be_less_is_said_too() -> None:
    assert least(0.97, 0.97, "× llama-server") == "at least 0.97 × llama-server: met"
    assert least(0.96, 0.97) == "at least 0.97 ×: MISSED"


def test_what_was_measured_elsewhere_is_put_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    file.write_text(json.dumps(TABLE.plain()))
    (read,) = tables([], [str(file)])
    assert read.markdown() == TABLE.markdown()


def test_a_table_of_speeds_has_its_picture_beside_it() -> None:
    rows = [
        ["here", "tokens/s, 1 stream", 9.0, 8.0, "", 1.1, ""],
        ["here", "tokens/s, 8 streams", 19.0, 18.0, "", 1.1, ""],
    ]
    made = Table(name="engine-cuda", ran="Once.", columns=COLUMNS, rows=rows)
    assert picture(made).name == "performance-engine-cuda.svg"
    assert "\n\n![tokens/s, here](performance-engine-cuda.svg)\n<!--" in put(PAGE.read_text(), made)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0
