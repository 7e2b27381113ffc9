"""Each trial is a program of its own beside this file, in the language of its client, that prints a line for each step.

It is told by RBEE_URL, RBEE_TOKEN, RBEE_MODEL and RBEE_EMBEDDER where to go, and its exit status says how it went.
"""

import asyncio
import os
import subprocess
import venv
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.clients.fleet import Place

HERE = Path(__file__).parent
BUILT = HERE.parents[2] / "build" / "clients"
PYTHON: Mapping[str, tuple[str, str]] = {
    "litellm": ("litellm", "litellm_trial.py"),
    "langchain": ("langchain-openai", "langchain_trial.py"),
}
NODE: Mapping[str, tuple[tuple[str, ...], str]] = {
    "openai": (("openai",), "openai_trial.mjs"),
    "ai": (("ai", "@ai-sdk/openai-compatible", "zod"), "ai_trial.mjs"),
}
NAMES = (*PYTHON, *NODE)
_LONGEST_S = 120


def prepare(clients: Iterable[str]) -> None:
    """Install what ``clients`` need, unless it is there."""
    BUILT.mkdir(parents=True, exist_ok=True)
    for client in clients:
        if client in PYTHON and not (BUILT / "venv" / f".{client}").exists():
            if not (BUILT / "venv" / "bin" / "pip").exists():
                venv.create(BUILT / "venv", with_pip=True)
            subprocess.run([BUILT / "venv" / "bin" / "pip", "install", "-q", PYTHON[client][0]], check=True)
            (BUILT / "venv" / f".{client}").touch()
        if client in NODE and not all((BUILT / "node_modules" / each).exists() for each in NODE[client][0]):
            subprocess.run(["npm", "install", "--no-audit", "--no-fund", *NODE[client][0]], cwd=BUILT, check=True)


async def tried(client: str, place: Place) -> bool:
    """Run the trial of ``client``; say whether all of it went well."""
    print(f"{client}:", flush=True)
    environ = {
        **os.environ,
        "RBEE_URL": place.url,
        "RBEE_TOKEN": place.token,
        "RBEE_MODEL": place.model,
        "RBEE_EMBEDDER": place.embedder,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # it would ask GitHub for prices
    }
    process = await asyncio.create_subprocess_exec(*_command(client), env=environ)
    try:
        async with asyncio.timeout(_LONGEST_S):
            return await process.wait() == 0
    except TimeoutError:
        process.kill()
        await process.wait()
        print(f"  FAILED: not done after {_LONGEST_S} s", flush=True)
        return False


def _command(client: str) -> tuple[str, ...]:
    if client in PYTHON:
        return str(BUILT / "venv" / "bin" / "python"), str(HERE / PYTHON[client][1])
    # node looks for packages beside the program, which is here, and not where it was started
    program = BUILT / NODE[client][1]
    program.write_text((HERE / NODE[client][1]).read_text())
    (BUILT / "steps.mjs").write_text((HERE / "steps.mjs").read_text())
    return "node", str(program)
