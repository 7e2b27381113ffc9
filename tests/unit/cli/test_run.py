"""From argv to exit code, mostly as a shell sees it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rbee.cli import run
from rbee.cli.run import Commands, find
from rbee.errors import NotFound
from tests.rig.waiting import PATIENCE
from tests.support.commands import at_once_s, least_cpu_s

USAGE = """
tool: do things.

Usage:
  tool do <thing> [options]
  tool undo <thing>
                  [--twice] [options]
  tool gpu list [options]

Options:
  --format=<fmt>    text or json [default: text].
  --no-color        No colours.
  --debug           Show the traceback of a bug.
"""


async def do(args: dict[str, Any], output: Any) -> int | None:
    match args["<thing>"]:
        case "fail":
            raise NotFound("no thing fail", hint="tool do it")
        case "break":
            raise ZeroDivisionError("division by zero")
        case "stop":
            raise KeyboardInterrupt
        case "five":
            return 5
    output.text(f"did {args['<thing>']}\n")
    return None


def undo(args: dict[str, Any], output: Any) -> None:
    output.text(f"undid {args['<thing>']}\n")


def table() -> Commands:
    return {("do",): do, ("undo",): undo, ("gpu", "list"): do}


def tool(*argv: str) -> int:
    return run.main("tool", USAGE, table, argv)


def test_a_command_writes_its_result_and_is_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert tool("do", "it") == 0
    assert capsys.readouterr() == ("did it\n", "")


def test_a_command_that_waits_for_nothing_is_a_plain_function(capsys: pytest.CaptureFixture[str]) -> None:
    assert tool("undo", "it") == 0
    assert capsys.readouterr() == ("undid it\n", "")


def test_a_command_may_choose_its_code() -> None:
    assert tool("do", "five") == 5


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_is_the_usage_text_wherever_it_is_asked_for(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool("do", flag) == 0
    assert capsys.readouterr().out == USAGE.strip() + "\n"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert tool("--version") == 0
    assert capsys.readouterr().out.startswith("tool ")


def test_bad_usage_is_64_and_shows_the_lines_that_were_nearly_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert tool("undo") == 64
    said = capsys.readouterr().err
    assert said.splitlines()[0] == "tool: cannot make sense of: undo"
    assert "  tool undo <thing>\n                  [--twice] [options]\n" in said
    assert "tool do" not in said


def test_a_command_without_its_first_word_is_found_by_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert tool("list", "gpu") == 64
    assert capsys.readouterr().err.splitlines()[1:] == ["Usage:", "  tool gpu list [options]"]


def test_nothing_at_all_shows_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert tool() == 64
    said = capsys.readouterr().err
    assert "cannot make sense of: (nothing)" in said
    assert "tool do" in said
    assert "tool gpu list" in said


def test_a_format_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert tool("do", "it", "--format=xml") == 64
    assert capsys.readouterr() == ("", "tool: --format is 'xml', expected text or json\n")


def test_a_failure_is_a_sentence_a_hint_and_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert tool("do", "fail") == 66
    assert capsys.readouterr() == ("", "tool: no thing fail\nhint: tool do it\n")


def test_a_failure_as_json_is_one_envelope_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert tool("do", "fail", "--format=json") == 66
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["error"] == {
        "code": "not_found",
        "message": "no thing fail",
        "hint": "tool do it",
        "details": {},
        "retriable": False,
        "request_id": "",
        "source": "tool",
    }


@pytest.mark.parametrize(("ending", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_is_told_twice_to_end_ends_at_once_and_says_nothing(ending: signal.Signals, code: int) -> None:
    slow = (
        "import asyncio, sys\n"
        "from rbee.cli import run\n"
        "async def do(args, output):\n"
        "    try:\n"
        "        print('up', flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "    finally:\n"
        "        print('ending', flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "sys.exit(run.main('tool', 'Usage:\\n  tool do [options]\\n\\nOptions:\\n  --debug  x.\\n',"
        " lambda: {('do',): do}, ['do']))\n"
    )
    # A suite that runs in the background has SIGINT ignored.
    argv = ["env", "--default-signal=INT", sys.executable, "-c", slow]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as ran:
        assert ran.stdout is not None
        for said in ("up\n", "ending\n"):
            assert ran.stdout.readline() == said
            ran.send_signal(ending)
        try:
            _, err = ran.communicate(timeout=10 * PATIENCE)
        finally:
            ran.kill()
    assert (ran.returncode, err) == (code, "")


def test_interrupted_is_130() -> None:
    assert tool("do", "stop") == 130


def test_a_bug_is_70_and_an_apology_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert tool("do", "break") == 70
    said = capsys.readouterr().err
    assert said.splitlines()[0] == "tool: sorry, this is a bug: ZeroDivisionError: division by zero"
    assert "Traceback" not in said


@pytest.mark.parametrize("asked", ["--debug", "RBEE_DEBUG"])
def test_a_bug_shows_its_traceback_when_asked(
    asked: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if asked == "RBEE_DEBUG":
        monkeypatch.setenv("RBEE_DEBUG", "1")
    assert tool("do", "break", *(["--debug"] if asked == "--debug" else [])) == 70
    assert "Traceback" in capsys.readouterr().err


def test_the_longest_command_whose_words_were_given_is_meant() -> None:
    commands: Commands = {("status",): do, ("gpu", "status"): table()[("gpu", "list")]}
    assert find(commands, {"gpu": True, "status": True}) is commands[("gpu", "status")]
    assert find(commands, {"gpu": False, "status": True}) is commands[("status",)]


# As processes


def python(code: str, *argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *argv],
        capture_output=True,
        text=True,
        check=False,
        timeout=60 * PATIENCE,
        **options,
    )


CLI = "from rbee.{}.main import main; main()"


def test_a_reader_that_leaves_is_no_failure() -> None:
    code = "from tests.unit.cli.test_run import tool; import sys; sys.exit(tool('do', 'x' * 200_000))"
    pipe = f'{{ {sys.executable} -c "{code}"; echo "rc=$?" >&2; }} | head -c 5'
    done = subprocess.run(["bash", "-c", pipe], capture_output=True, text=True, check=False, timeout=60 * PATIENCE)
    assert (done.stdout, done.stderr) == ("did x", "rc=0\n")


def test_what_is_followed_ends_with_its_reader_also_in_silence() -> None:
    code = """
import asyncio
from rbee.cli.streams import ended_by_reader
async def follow():
    print("a line", flush=True)
    try:
        with ended_by_reader():
            await asyncio.Event().wait()
    except BrokenPipeError:
        await asyncio.sleep(0)  # nothing is left of the cancellation
        raise SystemExit(7)
asyncio.run(follow())
"""
    pipe = 'python=$1 code=$2; "$python" -c "$code" | head -n 1; exit ${PIPESTATUS[0]}'
    done = subprocess.run(
        ["bash", "-c", pipe, "-", sys.executable, code], capture_output=True, check=False, timeout=60 * PATIENCE
    )
    assert (done.stdout, done.returncode) == (b"a line\n", 7)


@pytest.mark.parametrize("words", ["'do', 'it'", "'--help'", "'--version'"])
def test_a_result_that_cannot_be_written_is_an_io_error_and_said(words: str) -> None:
    code = f"from tests.unit.cli.test_run import tool; import sys; sys.exit(tool({words}))"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (74, "tool: standard output: No space left on device\n")


@pytest.mark.parametrize(
    ("closed", "words", "code"),
    [(">&-", "'do', 'it'", 0), ("2>&-", "'do', 'fail'", 66), ("<&- >&- 2>&-", "'do', 'fail'", 66)],
)
def test_closed_streams_change_nothing(closed: str, words: str, code: int) -> None:
    run_it = f"from tests.unit.cli.test_run import tool; import sys; sys.exit(tool({words}))"
    done = subprocess.run(
        ["bash", "-c", f'{sys.executable} -c "{run_it}" {closed}'], check=False, timeout=60 * PATIENCE
    )
    assert done.returncode == code


@pytest.mark.parametrize("cli", ["keeper", "hive"])
def test_help_imports_nothing_that_only_commands_need(cli: str) -> None:
    shown = "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "
    done = python(shown + CLI.format(cli), "--help")
    heavy = {"asyncio", "aiohttp", "docopt", "pystemd", "huggingface_hub", "dataclasses", "rbee.config"}
    assert done.returncode == 0
    assert not heavy & set(done.stderr.split())


def test_one_question_to_the_queen_imports_no_event_loop(tmp_path: Path) -> None:
    shown = "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "
    written = tmp_path / "rbee.toml"
    written.write_text('[keeper]\nqueen = "http://127.0.0.1:1"\n')
    done = python(shown + CLI.format("keeper"), "jobs", "list", "--config", str(written))
    assert done.returncode == os.EX_UNAVAILABLE
    assert not {"asyncio", "aiohttp", "ssl", "http.client"} & set(done.stderr.split())


@pytest.mark.parametrize("cli", ["keeper", "hive"])
def test_help_answers_in_150_ms(cli: str) -> None:
    def ask() -> None:
        assert python(CLI.format(cli), "--help").returncode == 0

    assert 0 < least_cpu_s(ask, times=8) < at_once_s()
