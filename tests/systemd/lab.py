"""One rig host with rbee on it, spoken to as its owner would: commands, systemctl, HTTP on its loopback."""

import contextlib
import ctypes
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from rbee.client.http import HttpClient
from rbee.client.queen import QueenClient
from tests.assets import tiny_gguf
from tests.rig.host import Host
from tests.rig.waiting import wait_for

QUEEN, POOL = "http://127.0.0.1:8080", "http://127.0.0.1:9200"
MODELS = "/var/lib/rbee/models"
WORKERS = "rbee-workers.slice"
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def network_of(host: Host) -> Iterator[None]:
    """Let this thread open its sockets in the host's network, so that 127.0.0.1 is the host's own.

    Network namespaces belong to threads (setns(2)); sockets stay where they were opened.
    """
    with Path("/proc/thread-self/ns/net").open() as ours, Path(f"/proc/{host.pid1}/ns/net").open() as theirs:
        _enter(theirs.fileno())
        try:
            yield
        finally:
            _enter(ours.fileno())


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@dataclass
class Lab:
    """``host`` with its sockets up."""

    host: Host
    user: str | None = None
    models: str = MODELS

    # Commands

    def hive(self, *argv: str, check: bool = True, timeout: float = 90) -> CompletedProcess[str]:
        return self.host.run(["rbee-hive", *argv], user=self.user, check=check, timeout=timeout)

    def rbee(self, *argv: str, check: bool = True, timeout: float = 90) -> CompletedProcess[str]:
        return self.host.run(["rbee", *argv], user=self.user, check=check, timeout=timeout)

    def hive_json(self, *argv: str) -> Any:
        return json.loads(self.hive(*argv, "--format", "json").stdout)

    def rbee_json(self, *argv: str) -> Any:
        return json.loads(self.rbee(*argv, "--format", "json").stdout)

    def refused(self, program: str, *argv: str) -> tuple[int, dict[str, Any]]:
        """Return the exit status and the error a command ends with."""
        done = self.host.run([program, *argv, "--format", "json"], user=self.user, check=False, timeout=90)
        assert done.returncode != 0, f"{argv} was not refused: {done.stdout}"
        assert done.stdout == "", f"a refusal wrote a result: {done.stdout}"
        error: dict[str, Any] = json.loads(done.stderr.strip().splitlines()[-1])["error"]
        return done.returncode, error

    def systemctl(self, *argv: str, check: bool = True) -> CompletedProcess[str]:
        scope = ["--user"] if self.user else []
        return self.host.run(["systemctl", *scope, *argv], user=self.user, check=check)

    def show(self, unit: str, prop: str) -> str:
        return self.host.unit_property(unit, prop, user=self.user)

    def limit_cpu(self, quota: str, unit: str = WORKERS) -> None:
        """Slow down what runs in ``unit``, so that it outlasts what is done to it meanwhile; an empty quota is none."""
        self.systemctl("set-property", "--runtime", unit, f"CPUQuota={quota}")

    def units(self, pattern: str) -> set[str]:
        """Return the names of the units in memory that match."""
        listed = self.systemctl("list-units", "--all", "--plain", "--no-legend", pattern).stdout
        return {line.split()[0] for line in listed.splitlines() if line.strip()}

    # Models and workers

    def give_tiny(self, name: str = "tiny", **shape: Any) -> str:
        """Put the small seeded model on the host and register it; return its id."""
        return self.give(name, tiny_gguf, **shape)

    def give(self, name: str, make: Callable[..., Path], **shape: Any) -> str:
        """Put the file that ``make`` writes on the host and register it; return its id."""
        target = self.host.root / self.models.lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        path = target / f"{name}.gguf"
        make(path, **shape)
        if self.user is None:
            shutil.chown(path, *self._owner())
        self.hive("models", "import", f"{self.models}/{name}.gguf")
        return name

    def _owner(self) -> tuple[int, int]:
        for line in (self.host.root / "etc/passwd").read_text().splitlines():
            user, _, uid, gid, *_ = line.split(":")
            if user == "rbee":
                return int(uid), int(gid)
        raise LookupError("no user rbee on the host")

    def spawn(self, model: str, *argv: str) -> dict[str, Any]:
        """Spawn a CPU worker and return what the command said of it."""
        worker: dict[str, Any] = self.hive_json("worker", "spawn", "cpu", "--model", model, *argv)
        return worker

    def pid(self, unit: str) -> int:
        return int(self.show(unit, "MainPID"))

    def outer_pid(self, unit: str) -> int:
        """Return the main process of ``unit`` as this side sees it (each host has process ids of its own)."""
        inner = self.pid(unit)
        for status in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                text = status.read_text()
                chain = next((line.split()[1:] for line in text.splitlines() if line.startswith("NSpid:")), [])
                if len(chain) > 1 and chain[-1] == str(inner) and _same_pid_namespace(status.parent, self.host.pid1):
                    return int(status.parent.name)
        raise LookupError(f"{unit} has no process {inner}")

    # HTTP

    @property
    def token(self) -> str:
        path = self.host.root / "etc/rbee/token"
        return path.read_text().split()[0] if self.user is None and path.exists() else ""

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        with network_of(self.host):
            yield

    def http(self, base: str = QUEEN, **options: Any) -> HttpClient:
        return HttpClient(base, token=self.token, **options)

    def queen(self) -> QueenClient:
        return QueenClient(self.http(source="queen"))

    def wait_active(self, unit: str, state: str = "active", timeout_s: float = 20) -> None:
        wait_for(lambda: self.show(unit, "ActiveState") == state, f"{unit} to be {state}", timeout_s)


def _same_pid_namespace(process: Path, pid1: int) -> bool:
    return (process / "ns/pid").readlink() == Path(f"/proc/{pid1}/ns/pid").readlink()


class Hammer:
    """Asks ``path`` in a loop from its own thread, each time on a fresh connection; counts what came of it."""

    def __init__(self, lab: Lab, port: int, path: str = "/health") -> None:
        self.answers = 0
        self.failures: list[str] = []
        self.slowest_s = 0.0
        self._lab, self._port, self._path = lab, port, path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Hammer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def wait_for_answers(self, more: int, timeout_s: float = 30) -> None:
        goal = self.answers + more
        wait_for(lambda: self.answers >= goal or self.failures, f"{more} more answers", timeout_s)

    def _run(self) -> None:
        with network_of(self._lab.host):
            while not self._stop.is_set():
                self._ask()

    def _ask(self) -> None:
        import http.client

        started = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            connection.request("GET", self._path)
            response = connection.getresponse()
            response.read()
            if response.status != 200:
                self.failures.append(f"status {response.status}")
            self.answers += 1
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(repr(error))
        finally:
            connection.close()
        self.slowest_s = max(self.slowest_s, time.monotonic() - started)
