"""What constrained answers need is loaded for them, and not by a worker that never gives one."""

import subprocess
import sys

WATCHED = ("llguidance", "numpy", "jinja2", "rbee.llm_worker.guidance", "rbee.llm_worker.calling.grammar")


def loaded_with(module: str) -> list[str]:
    asked = f"import sys, {module}; print(*[name for name in {WATCHED} if name in sys.modules])"
    return subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout.split()


def test_a_worker_starts_without_what_only_shapes_need() -> None:
    assert loaded_with("rbee.llm_worker.worker") == []


def test_a_trial_which_is_a_new_process_each_loads_little() -> None:
    assert loaded_with("rbee.llm_worker.guidance.bounded") == ["llguidance", "rbee.llm_worker.guidance"]
