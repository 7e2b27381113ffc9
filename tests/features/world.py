"""What a scenario does to the house and what came of it, and how the house is put in order again."""

import json
import re
import shlex
from dataclasses import dataclass, field
from subprocess import CompletedProcess
from typing import Any

from tests.fleet.house import CONFIG, NAMES, House
from tests.rig.host import Host
from tests.rig.inside import InsideProcess
from tests.rig.waiting import wait_for

CURL = ["curl", "-s", "-m", "60", "-w", "\n%{http_code}"]


@dataclass
class World:
    """One scenario's memory. ``done`` is the last command that ended, ``answer`` the last HTTP answer."""

    house: House
    done: CompletedProcess[str] | None = None
    answer: tuple[int, Any] = (0, None)
    running: InsideProcess | None = None
    remembered: dict[str, str] = field(default_factory=dict)
    undo: list[tuple[str, str]] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._config = {name: self.host(name).read(CONFIG) for name in NAMES}

    def host(self, name: str) -> Host:
        return self.house.hosts[name]

    def words(self, command: str) -> list[str]:
        """Return a command's words, with what the scenario remembers filled in."""
        return shlex.split(re.sub(r"<(\w+)>", lambda found: self.remembered[found[1]], command))

    def run(self, host: str, command: str, timeout: float = 120) -> None:
        self.done = self.host(host).run(self.words(command), check=False, timeout=timeout)

    def shell(self, host: str, script: str) -> str:
        return self.host(host).run(["sh", "-c", script]).stdout

    def later(self, host: str, script: str) -> None:
        """Remember what undoes a thing that was broken."""
        self.undo.append((host, script))

    @property
    def said(self) -> str:
        assert self.done is not None, "nothing was run"
        return self.done.stdout + self.done.stderr

    @property
    def document(self) -> Any:
        assert self.done is not None, "nothing was run"
        return json.loads(self.done.stdout or self.done.stderr.splitlines()[-1])

    def ask(self, host: str, method: str, url: str, body: str = "", token: str | None = None) -> None:
        """Ask a daemon with curl from ``host``; without ``token`` as one who has the fleet's."""
        if token is None:
            token = self.host(host).read("/etc/rbee/token").split()[0]
        headers = ["-H", "Content-Type: application/json"]
        headers += ["-H", f"Authorization: Bearer {token}"] if token else []
        data = ["--data-binary", "@-"] if body else []
        said = self.host(host).run([*CURL, "-X", method, *headers, *data, url], input=body or None, check=False).stdout
        text, _, status = said.rpartition("\n")
        try:
            self.answer = int(status), json.loads(text or "null")
        except ValueError:
            self.answer = int(status), text

    def clean_up(self) -> None:
        """Put everything back: links, what was broken, workers, drained pools, settings."""
        if self.running is not None:
            if self.running.poll() is None:
                self.running.kill()
            self.running.__exit__(None, None, None)  # waits, and closes its pipes
        for name in self.cut:
            self.host(name).restore_link()
        for host, script in reversed(self.undo):
            self.shell(host, script)
        for name, text in self._config.items():
            if self.host(name).read(CONFIG) != text:
                self.host(name).write(CONFIG, text)
        stop = "systemctl stop 'rbee-worker-*.socket' 'rbee-worker-*.service' 'rbee-model-*' 2>/dev/null"
        for name in NAMES:
            self.shell(name, f"{stop}; systemctl reset-failed 2>/dev/null; rm -f /var/lib/rbee/draining; true")
        for name in self.cut:
            wait_for(lambda: self.pools().get(name) == "ready", f"{name} to be back", 60)  # noqa: B023  (at once)

    def pools(self) -> dict[str, str]:
        """Return the state of each pool that the queen knows."""
        rows = json.loads(self.host("blep").run(["rbee", "pool", "list", "--format", "json"]).stdout)
        return {pool["id"]: pool["state"] for pool in rows}
