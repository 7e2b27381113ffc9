"""From features and tags to results and an exit code, by way of pytest."""

import os
import sys
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest
from _pytest.mark.expression import Expression

from rbee.bdd_runner import features
from rbee.bdd_runner.reports import FORMS
from rbee.bdd_runner.scenario import FAILED
from rbee.bdd_runner.watcher import Wanted, Watcher
from rbee.errors import EX_INTERRUPTED, InvalidRequest, NotFound


class _Hush:
    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self) -> None:
        """Keep pytest-asyncio from telling whoever has features and no pytest settings which ones to make."""
        warnings.filterwarnings("ignore", message='The configuration option "asyncio_')


def run(words: Sequence[str], *, tags: str, form: str, where: str) -> int:
    """Run what is asked for and return the exit code.

    Args:
        words: feature files, directories, names; none for all.
        tags: an expression; empty for all.
        form: text, json or junit.
        where: the directory of the features; empty for that of this checkout.

    Raises:
        InvalidRequest: no such form, or ``tags`` is no expression.
        NotFound: no such feature, one that no test module runs, or no scenario with such tags.
    """
    if form not in FORMS:
        raise InvalidRequest(f"--format is {form!r}, expected {', '.join(FORMS)}")
    root = Path(where or features.DEFAULT)
    files = features.find(words, root)
    report = FORMS[form](sys.stdout)
    watcher = Watcher(files, _wanted(tags), report.ended)
    quiet = ["-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]  # pytest-bdd is here already
    code = pytest.main([*quiet, *_directories(files, root.resolve())], plugins=[watcher, _Hush()])
    if watcher.failure is not None:
        raise watcher.failure
    if code == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise NotFound(f"no scenario is tagged {tags}" if tags else "these features hold no scenario")
    report.finish(watcher.done)
    for text in watcher.broken:
        sys.stderr.write(f"{text}\n")
    return _exit_code(int(code), watcher)


def _directories(files: Collection[Path], root: Path) -> list[str]:
    """Return where pytest finds the modules that run ``files``."""
    return sorted({str(root if file.is_relative_to(root) else file.parent) for file in files})


def _wanted(tags: str) -> Wanted:
    if not tags:
        return lambda _: True
    try:
        expression = Expression.compile(tags.replace("@", ""))
    except SyntaxError as error:
        raise InvalidRequest(f"--tags is {tags!r}: {error.msg}", hint='bdd-runner --tags "ssh and not slow"') from None
    return lambda given: expression.evaluate(lambda name, /, **_: name in given)


def _exit_code(code: int, watcher: Watcher) -> int:
    """Return what pytest's exit code means here; what pytest had to say about it stands on standard error."""
    meanings = {
        pytest.ExitCode.INTERRUPTED: 1 if watcher.broken else EX_INTERRUPTED,
        pytest.ExitCode.INTERNAL_ERROR: os.EX_SOFTWARE,
        pytest.ExitCode.USAGE_ERROR: os.EX_UNAVAILABLE,
    }
    failed = any(scenario.outcome == FAILED for scenario in watcher.done)  # also what pytest found nothing wrong with
    return meanings.get(pytest.ExitCode(code), code) or int(failed)
