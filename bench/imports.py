"""What Python's imports cost a worker that wakes: python -m bench.imports

A real llm-worker-rbee, started with ``python -X importtime`` until it has answered once, on its bytecode files. What is
counted is each package's own time, without what it imports in turn; being watched, every import takes longer than else.
"""

import asyncio
import re
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping

from bench.answers import ask
from bench.processes import BUILD, Process, answering, free_port, running
from bench.prompts import question
from bench.report import Cell, Table, program
from bench.servers import RBEE, Server, Setting, worker_argv, worker_environ

_LINE = re.compile(r"^import time:\s+(\d+) \|\s+\d+ \|\s+([\w.]+)$", re.MULTILINE)
SHOWN = 10
STANDARD = "Python's own library"


def measure(times: int = 5, model: str = "", lib: str = "", device: str = "cpu") -> Table:
    """Start it ``times`` times, after one that does not count."""
    return asyncio.run(_measure(times, model, lib, device))


async def _measure(times: int, model: str, lib: str, device: str) -> Table:
    setting = Setting.named(model=model, lib=lib, slots=4, ctx=4096, threads=0, device=device, llama_server="")
    runs = [by_package(await _heard(setting)) for _ in range(times + 1)][1:]
    return table(runs)


async def _heard(setting: Setting) -> str:
    """Return what a worker's Python said of its imports, from start to the first answer."""
    address, log = f"127.0.0.1:{free_port()}", BUILD / "imports.log"
    BUILD.mkdir(parents=True, exist_ok=True)
    python, *rest = worker_argv(setting, address)
    async with running([python, "-X", "importtime", *rest], log=log, env=worker_environ(setting)) as pid:
        await answering(pid, address, "/health")
        await ask(Server(name=RBEE, process=Process(pid, address)), question(0), 1)
        return log.read_text(encoding="utf-8", errors="replace")


def by_package(told: str) -> Mapping[str, tuple[float, int]]:
    """Return ms and modules of each package that is told of, with all of Python's own as one."""
    took_us: dict[str, int] = defaultdict(int)
    modules: Counter[str] = Counter()
    for us, module in _LINE.findall(told):
        top = module.partition(".")[0]
        package = STANDARD if top in sys.stdlib_module_names or top in ("sitecustomize", "usercustomize") else top
        took_us[package] += int(us)
        modules[package] += 1
    return {package: (us / 1000, modules[package]) for package, us in took_us.items()}


def table(runs: list[Mapping[str, tuple[float, int]]]) -> Table:
    """Return the packages that cost most, by the median of ``runs``, and the sum of all."""
    packages = {name for run in runs for name in run}
    found = {name: statistics.median(run.get(name, (0.0, 0))[0] for run in runs) for name in packages}
    counts = {name: max(run.get(name, (0.0, 0))[1] for run in runs) for name in packages}
    dearest = sorted(packages, key=lambda name: -found[name])
    rows: list[list[Cell]] = [[name, found[name], counts[name]] for name in dearest[:SHOWN]]
    rest = dearest[SHOWN:]
    rows.append([f"{len(rest)} others", sum(found[name] for name in rest), sum(counts[name] for name in rest)])
    rows.append(["all", sum(found.values()), sum(counts.values())])
    version = ".".join(map(str, sys.version_info[:3]))
    ran = f"llm-worker-rbee from start to its first answer, {len(runs)} times, medians; Python {version}."
    return Table(name="imports", ran=ran, columns=("package", "its own ms", "modules"), rows=rows)


if __name__ == "__main__":
    program(__doc__, measure, times=5, model="", lib="", device="cpu")
