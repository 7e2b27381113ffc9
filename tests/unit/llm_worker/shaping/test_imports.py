"""What constrained answers need is loaded for them, and not by a worker that never gives one."""

import subprocess
import sys

WATCHED = ("llguidance", "numpy", "jinja2", "rbee.llm_worker.guidance", "rbee.llm_worker.calling.grammar")


def test_a_worker_starts_without_what_only_shapes_need() -> None:
    asked = f"import sys, rbee.llm_worker.worker; print(*[name for name in {WATCHED} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
