"""LiteLLM's proxy, one process, in an environment of its own under build/: what rbee's queen is compared with.

The version is pinned, since releases of it have been known to steal credentials (1.82.7, 1.82.8, 1.107.0). Only wheels
are taken, so that nothing runs while installing; and the proxy runs with an empty environment, as nobody when we are
root.
"""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator

from bench.paced_worker import MODEL
from bench.processes import BUILD, Process, answering, free_port, running

VERSION = "1.106.12"
NOBODY = 65534
KEY = "sk-nobody-checks-it"
_VENV = BUILD / f"litellm-{VERSION}"


async def install() -> None:
    """Make the environment, once. This needs the network, and takes a minute or two."""
    done = _VENV / "done"
    if done.exists():
        return
    argv = [f"{_VENV}/bin/pip", "install", "--quiet", "--only-binary=:all:", f"litellm[proxy]=={VERSION}"]
    for command in ([sys.executable, "-m", "venv", "--clear", str(_VENV)], argv):
        await _finished(command)
    done.touch()


@contextlib.asynccontextmanager
async def proxy(worker: Process) -> AsyncIterator[Process]:
    """Run it in front of ``worker``'s OpenAI route."""
    await install()
    config = BUILD / "litellm.yaml"
    params = {"model": f"openai/{MODEL}", "api_base": f"{worker.url}/v1", "api_key": KEY}
    known = {"model_list": [{"model_name": MODEL, "litellm_params": params}]}
    config.write_text(json.dumps(known), encoding="utf-8")  # YAML reads JSON
    port = free_port()
    home = BUILD / "litellm-home"
    home.mkdir(exist_ok=True)
    as_root = os.geteuid() == 0
    if as_root:
        os.chown(home, NOBODY, NOBODY)
    argv = [f"{_VENV}/bin/litellm", f"--config={config}", "--host=127.0.0.1", f"--port={port}", "--num_workers=1"]
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "HOME": str(home)}
    async with running(argv, log=BUILD / "litellm.log", env=env, user=NOBODY if as_root else None) as pid:
        address = f"127.0.0.1:{port}"
        await answering(address, "/health/liveliness")
        yield Process(pid, address)


async def _finished(argv: list[str]) -> None:
    process = await asyncio.create_subprocess_exec(*argv)
    if await process.wait() != 0:
        raise RuntimeError(f"{' '.join(argv)} failed with {process.returncode}")
