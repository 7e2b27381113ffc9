"""One table of operations; everything else has to agree with it (SPEC rules 1 and 2)."""

import ast
import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

import pytest

from rbee.client.pool import PoolClient
from rbee.client.queen import QueenClient
from rbee.errors import BY_CODE
from rbee.hive import main as hive
from rbee.keeper import main as keeper
from rbee.llm_worker import routes as worker_routes
from rbee.orchestrator_core.ops import QueenOps
from rbee.pool_core.ops import PoolOps
from rbee.pool_core.service import PoolService
from rbee.pool_managerd import routes as pool_routes
from rbee.queen import routes as queen_routes
from rbee.queen.service import QueenService
from rbee.wire.operations import POOL, QUEEN, WORKER, Answer, Operation
from tools import pages
from tools.usage import read

ROOT = Path(__file__).parents[2]
HIVE_ONLY = {("daemon", verb) for verb in ("start", "stop", "restart", "status", "logs")} | {("join",), ("leave",)}
KEEPER_ONLY = {
    *(("orchestrator", verb) for verb in ("start", "stop", "restart", "status", "logs", "listen")),
    *(("pool", verb) for verb in ("start", "stop", "restart", "logs", "exec", "verify", "rollout", "deploy")),
    ("token", "new"),
    ("policy", "test"),
}
Commands: TypeAlias = Iterable[tuple[tuple[str, ...], str]]


def of_hosts() -> Commands:
    """Yield rbee-hive's commands as rbee-keeper has them; ``pool status`` is systemd's word for the daemon there."""
    for operation in POOL:
        yield ("pool", "state") if operation.name == "get_state" else ("pool", *operation.words), operation.name


def of(operations: Iterable[Operation]) -> Commands:
    return ((operation.words, operation.name) for operation in operations if operation.words)


CLIS: dict[str, tuple[ModuleType, Commands, set[tuple[str, ...]]]] = {
    "rbee-keeper": (keeper, (*of(QUEEN), *of_hosts()), KEEPER_ONLY),
    "rbee-hive": (hive, tuple(of(POOL)), HIVE_ONLY),
}


def names(operations: Iterable[Operation]) -> set[str]:
    return {operation.name for operation in operations}


def public_methods(kind: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


def test_every_operation_has_a_handler() -> None:
    assert set(queen_routes.HANDLERS) == names(QUEEN)
    assert set(pool_routes.HANDLERS) == names(POOL)
    assert set(worker_routes.HANDLERS) == names(WORKER)


def test_every_operation_is_a_method_of_service_and_client() -> None:
    assert public_methods(QueenOps) == names(QUEEN)
    assert public_methods(PoolOps) == names(POOL)
    assert public_methods(QueenClient) == names(QUEEN)
    assert public_methods(PoolClient) == names(POOL)
    assert names(QUEEN) <= public_methods(QueenService)
    assert names(POOL) <= public_methods(PoolService)


@pytest.mark.parametrize("program", CLIS)
def test_every_operation_has_its_command(program: str) -> None:
    module, wanted, own = CLIS[program]
    commands = module.commands()
    assert set(commands) == {words for words, _ in wanted} | own
    assert set(read(module.USAGE).commands) == set(commands)
    for words in {words for words, _ in wanted}:
        assert commands[words].__name__ in {name for other, name in wanted if other == words}


@pytest.mark.parametrize(
    ("title", "operations"), [("queen-rbee", QUEEN), ("pool-managerd", POOL), ("llm-worker-rbee", WORKER)]
)
def test_every_route_is_in_the_api_page_with_what_it_takes_and_gives(
    title: str, operations: tuple[Operation, ...]
) -> None:
    page = (ROOT / "docs/api.md").read_text()
    section = page.partition(f"## {title}")[2].partition("\n## ")[0]
    rows = {row.split("|")[1].strip(): row for row in section.splitlines() if row.startswith("| ")}
    for operation in operations:
        row = rows[f"{operation.method} " + re.sub(r"<(\w+)>", r"{\1}", operation.path)]
        assert operation.request is None or f"`{operation.request.__name__}`" in row, operation.name
        match operation.form:
            case Answer.EMPTY:
                assert "204" in row, operation.name
            case Answer.LIST:
                assert f"`[{_name(operation)}]`" in row, operation.name
            case Answer.ONE:
                assert f"`{_name(operation)}`" in row, operation.name
            case Answer.STREAM:
                assert f"`{_name(operation)}`s" in row or "stream" in row, operation.name


def _name(operation: Operation) -> str:
    assert operation.answer is not None
    return str(operation.answer.__name__)


def test_every_code_is_in_the_api_page_with_its_status_and_exit_code() -> None:
    page = (ROOT / "docs/api.md").read_text()
    for code, kind in BY_CODE.items():
        assert f"| `{code}` | {kind.http_status} | {kind.exit_code} |" in page, code
    named = set(re.findall(r"`([a-z]+_[a-z_]+)`", " ".join(row.split("|")[-2] for row in _errors_of(page))))
    assert named <= set(BY_CODE)


def _errors_of(page: str) -> list[str]:
    """Return the rows of route tables; their last column names errors."""
    return [row for row in page.splitlines() if re.match(r"\| (GET|POST|DELETE) ", row)]


def test_pages_and_completions_are_current() -> None:
    for path, text in pages.pages():
        assert (ROOT / path).read_text() == text, f"{path} is old: .venv/bin/python -m tools.pages"


@pytest.mark.parametrize("text", [text for texts in pages.SECTIONS.values() for text in texts])
def test_every_option_is_described_once(text: str) -> None:
    usage = read(text)
    asked = {name for line in usage.synopses for name in re.findall(r"--[a-z][a-z-]*", line)}
    described = [name for option in usage.options for name in option.names if name.startswith("--")]
    assert asked <= set(described), asked - set(described)
    assert len(described) == len(set(described))


def test_what_a_worker_is_spawned_with_is_described_alike_by_both_commands() -> None:
    of_hive, of_keeper = (
        {name: option.help for option in read(text).options for name in option.names}
        for text in (hive.USAGE, keeper.USAGE)
    )
    [spawn] = (line for line in read(hive.USAGE).synopses if "worker spawn" in line)
    own = {"--model", "--id", "--events", "--priority"}  # which the keeper has for jobs as well, or not at all
    for name in set(re.findall(r"--[a-z][a-z-]*", spawn)) - own:
        assert of_keeper[name] == of_hive[name], name


def test_no_command_is_a_conversation() -> None:
    words = {word for module, _, _ in CLIS.values() for command in module.commands() for word in command}
    assert not words & {"chat", "repl", "interactive", "conversation", "shell"}


@pytest.mark.parametrize("package", ["cli", "keeper", "hive"])
def test_no_prompt_is_read_in_a_loop(package: str) -> None:
    for file in (ROOT / "rbee" / package).glob("*.py"):
        for loop in (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.While | ast.For)):
            calls = {ast.unparse(node.func) for node in ast.walk(loop) if isinstance(node, ast.Call)}
            assert not calls & {"input", "sys.stdin.readline", "readline"}, file
