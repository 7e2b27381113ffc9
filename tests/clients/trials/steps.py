"""What the trials in Python have in common; imported from beside them, by a Python that has no rbee."""

import os
import sys
from collections.abc import Callable
from typing import Any

URL, TOKEN, MODEL = os.environ["RBEE_URL"], os.environ["RBEE_TOKEN"] or "none", os.environ["RBEE_MODEL"]
EMBEDDER = os.environ["RBEE_EMBEDDER"]
HELLO = [{"role": "user", "content": "What is a llama?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather somewhere.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    },
}


def run(**steps: Callable[[], Any]) -> None:
    """Do each step, say how it went, and exit."""
    failed = 0
    for name, step in steps.items():
        try:
            print(f"  {name}: {str(step())[:100]!r}", flush=True)
        except Exception as error:  # noqa: BLE001  (whatever it is, the next step is tried)
            failed += 1
            print(f"  {name}: FAILED: {type(error).__name__}: {str(error)[:300]}", flush=True)
    sys.exit(1 if failed else 0)
