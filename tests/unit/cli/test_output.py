import io
import json
from dataclasses import dataclass
from typing import Any

import pytest

from rbee.cli.output import Column, Output
from rbee.cli.streams import Results
from rbee.errors import InvalidRequest, WorkerLost
from tests.support.commands import Terminal


@dataclass(frozen=True)
class Row:
    id: str
    state: str = "ready"
    size: int | None = None


COLUMNS = (Column("NAME", "id"), Column("STATE", "state"), Column("SIZE", "size", "{} B".format, right=True))
ROWS = [Row("ready-one", size=5), Row("b", "asleep")]


def output(**options: Any) -> Output:
    return Output(out=io.StringIO(), err=io.StringIO(), **options)


def written(to: Output) -> tuple[str, str]:
    assert isinstance(to.out, io.StringIO)
    assert isinstance(to.err, io.StringIO)
    return to.out.getvalue(), to.err.getvalue()


def test_a_table_is_aligned_and_has_a_dash_where_nothing_is_known() -> None:
    to = output()
    to.table(ROWS, COLUMNS, none="")
    assert written(to)[0].splitlines() == [
        "NAME       STATE   SIZE",
        "ready-one  ready    5 B",
        "b          asleep     –",
    ]


def test_only_the_state_is_coloured_and_it_stays_aligned() -> None:
    to = output(colour=True)
    to.table(ROWS, COLUMNS, none="")
    lines = written(to)[0].splitlines()
    assert lines[1] == "ready-one  \x1b[32mready\x1b[0m    5 B"
    assert lines[2] == "b          \x1b[2masleep\x1b[0m     –"


def test_no_rows_are_talk_and_no_result() -> None:
    to = output()
    to.table([], COLUMNS, none="no things")
    assert written(to) == ("", "no things\n")


def test_as_json_a_list_is_an_array_of_whole_objects_and_none_is_an_empty_one() -> None:
    to = output(as_json=True)
    to.table(ROWS, COLUMNS, none="no things")
    assert json.loads(written(to)[0]) == [
        {"id": "ready-one", "state": "ready", "size": 5},
        {"id": "b", "state": "asleep", "size": None},
    ]
    to = output(as_json=True)
    to.table([], COLUMNS, none="no things")
    assert written(to) == ("[]\n", "")


def test_facts_leave_out_what_is_not_known_and_indent_what_is_long() -> None:
    to = output()
    to.facts(Row("x"), {"thing": "x", "note": None, "paths": "/a\n/b", "restarts": 0})
    assert written(to)[0] == "thing     x\npaths     /a\n          /b\nrestarts  0\n"


def test_facts_as_json_are_the_value_itself() -> None:
    to = output(as_json=True)
    to.facts(Row("x"), {"thing": "x"})
    assert json.loads(written(to)[0]) == {"id": "x", "state": "ready", "size": None}


def test_done_as_json_is_a_document_and_talk_is_silent() -> None:
    to = output(as_json=True)
    to.say("working on it")
    to.done("x deleted", id="x")
    assert written(to)[1] == ""
    assert json.loads(written(to)[0]) == {"done": "x deleted", "id": "x"}


def test_a_failure_says_who_spoke_each_wrong_field_and_the_log() -> None:
    fields = [{"field": "a", "problem": "is 0"}, {"field": "b", "problem": "is missing"}]
    to = output()
    to.failure("tool", InvalidRequest("a is 0", details={"fields": fields}, source="queen"))
    assert written(to)[1] == "tool: a is 0 (queen)\n  b: is missing\n"
    to = output()
    to.failure("tool", WorkerLost("w ended", hint="look", details={"log": ["last words"]}))
    assert written(to)[1] == "tool: w ended\n  | last words\nhint: look\n"


@pytest.mark.parametrize(
    ("terminal", "environ", "no_color", "coloured"),
    [
        (True, {"TERM": "xterm"}, False, True),
        (True, {"TERM": "xterm"}, True, False),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, False, False),
        (True, {"TERM": "dumb"}, False, False),
        (False, {"TERM": "xterm"}, False, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, environ: dict[str, str], no_color: bool, coloured: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    results = Results(Terminal() if terminal else io.StringIO())
    assert Output.for_terminal(results, as_json=False, no_color=no_color).colour is coloured


def test_what_a_model_says_does_not_drive_the_terminal() -> None:
    said = "red\x1b[31m\rgone\x07\x9b2J\ttab\n"
    seen, kept = Output(out=Terminal(), err=Terminal()), output()
    for to in (seen, kept):
        to.text(said)
    assert seen.out.getvalue() == "red␛[31m␍gone␇\ufffd2J\ttab\n"  # type: ignore[union-attr]
    assert written(kept)[0] == said


def test_names_and_errors_do_not_drive_it_either() -> None:
    to = output()
    to.table([Row("\x1b]0;x\x07")], COLUMNS, none="")
    to.facts(ROWS[0], {"id": "\x1b[2J"})
    to.failure("tool", InvalidRequest("no \x1b[2J", hint="\x1b[2J", details={"log": ["\x1b[2J"]}))
    assert "\x1b" not in "".join(written(to))


def test_it_is_interactive_when_somebody_looks_and_wants_text() -> None:
    assert Output(out=io.StringIO(), err=Terminal()).interactive
    assert not Output(out=Terminal(), err=io.StringIO()).interactive
    assert not Output(out=io.StringIO(), err=Terminal(), as_json=True).interactive
