"""The pytest plugin that picks the scenarios and listens to how they go."""

import io
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
from pytest_bdd.scenario import scenario_wrapper_template_registry as templates

from rbee.bdd_runner.scenario import SKIPPED, Scenario
from rbee.errors import NotFound, RbeeError

Wanted = Callable[[Collection[str]], bool]
_LONGEST_ERROR_LINES = 40


class Watcher:
    """Runs the scenarios of ``files`` whose tags are ``wanted``; tells ``ended`` of each as it ends."""

    def __init__(self, files: Collection[Path], wanted: Wanted, ended: Callable[[Scenario], None]) -> None:
        self.done: list[Scenario] = []
        self.broken: list[str] = []
        self.failure: RbeeError | None = None
        self._files = set(files)
        self._wanted = wanted
        self._ended = ended
        self._scenarios: dict[str, Scenario] = {}
        self._steps: dict[str, str] = {}
        self._undefined: dict[str, str] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Let pytest itself say nothing: standard output is ours."""
        manager = config.pluginmanager
        manager.unregister(name="terminalreporter")
        manager.register(pytest.TerminalReporter(config, io.StringIO()), "terminalreporter")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Keep what was asked for; nothing when a feature that was asked for would not be run."""
        found = {item: scenario for item in items if (scenario := _scenario_of(item)) is not None}
        unbound = self._files - {scenario.file for scenario in found.values()}
        if unbound and not self.broken:
            self.failure = _never_run(sorted(unbound)[0])
            found.clear()
        chosen = [item for item, scenario in found.items() if self._chosen(item, scenario)]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen
        self._scenarios = {item.nodeid: found[item] for item in chosen}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note what could not be read."""
        if report.failed:
            self.broken.append(report.longreprtext)

    def pytest_bdd_before_step(self, request: pytest.FixtureRequest, feature: Any, step: Any) -> None:
        """Note where the scenario is."""
        self._steps[request.node.nodeid] = _place(feature, step)

    def pytest_bdd_step_func_lookup_error(self, request: pytest.FixtureRequest, feature: Any, step: Any) -> None:
        """Note how a definition of the step would begin."""
        place = _place(feature, step)
        self._undefined[request.node.nodeid] = f"{place}\nundefined step; a definition would begin\n{_beginning(step)}"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up the phases of a scenario and tell of it after the last."""
        scenario = self._scenarios[report.nodeid]
        scenario.duration_s += report.duration
        if report.skipped:
            scenario.outcome = SKIPPED
        if report.failed:
            scenario.fail(self._undefined.get(report.nodeid) or self._error(report))
            scenario.evidence += [text for title, text in report.sections if title == "systemd hosts"]
        if report.when == "call" and report.passed and report.nodeid not in self._steps:
            scenario.fail("it has no step; a line that begins with none of Given, When, Then, And, But, * is none")
        if report.when == "teardown":
            self.done.append(scenario)
            self._ended(scenario)

    def _chosen(self, item: pytest.Item, scenario: Scenario) -> bool:
        return scenario.file in self._files and self._wanted({*scenario.tags, *(m.name for m in item.iter_markers())})

    def _error(self, report: pytest.TestReport) -> str:
        crash = getattr(report.longrepr, "reprcrash", None)
        lines = (crash.message if crash else report.longreprtext).splitlines()[:_LONGEST_ERROR_LINES]
        where = self._steps.get(report.nodeid, "") if report.when == "call" else f"in its {report.when}"
        return "\n".join([where, *lines] if where else lines)


def _scenario_of(item: pytest.Item) -> Scenario | None:
    function = getattr(item, "obj", None)
    template = templates.get(function) if function is not None else None
    if template is None:
        return None
    example = getattr(getattr(item, "callspec", None), "params", {}).get("_pytest_bdd_example", {})
    scenario = template.render(example)
    values = f" ({', '.join(example.values())})" if example else ""
    return Scenario(
        id=item.nodeid,
        feature=Path(template.feature.filename).stem,
        name=f"{scenario.name}{values}",
        tags=tuple(sorted(template.tags | template.feature.tags)),
        file=Path(template.feature.filename).resolve(),
        title=template.feature.name,
    )


def _place(feature: Any, step: Any) -> str:
    """Return ``tests/features/workers.feature:12: When it ends``."""
    file = Path(feature.filename)
    shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    return f"{shown}:{step.line_number}: {step.keyword.strip()} {step.name}"


def _beginning(step: Any) -> str:
    name = re.sub(r"\W+", "_", step.name).strip("_").lower() or "step"
    return f"    @{step.type}({step.name!r})\n    def {name}() -> None:"


def _never_run(file: Path) -> NotFound:
    return NotFound(f"no test module beside {file} runs it", hint=f"scenarios({file.name!r}) in test_{file.stem}.py")
