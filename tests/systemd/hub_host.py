"""A host whose pool is told of a hub on the host's loopback."""

import contextlib
import hashlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.assets import tiny_gguf
from tests.rig.host import Host
from tests.rig.waiting import wait_for
from tests.systemd.lab import MODELS, Lab

HUB = "http://127.0.0.1:18446"
LAYERS = 16  # 2.8 MB
SLOW = 1 << 20  # bytes a second: slow enough to come between


@dataclass
class HubHost(Lab):
    """A host whose pool is told of a hub at ``HUB``, which serves the repository acme/tiny."""

    sha256: str = ""
    size_bytes: int = 0

    def faults(self, **values: Any) -> None:
        """Set what the hub does wrong; everything else is off."""
        self._ask("PUT", "/-/faults", json.dumps(values).encode())

    def ranges(self) -> list[str]:
        """Return the Range of each request for bytes so far, empty for one from the start."""
        asked = self._ask("GET", "/-/asked")
        return [one["range"] for one in asked if one["method"] == "GET" and "/resolve/" in one["path"]]

    def downloaded(self) -> list[str]:
        """Return the ids of models from the hub."""
        return [model["id"] for model in self.hive_json("models", "list") if model["reference"] == "hf:acme/tiny"]

    def model_files(self) -> list[str]:
        """Return what lies among the models, whole or not."""
        return self.host.run(["find", MODELS, "-name", "tiny.gguf*"]).stdout.split()

    def partial_bytes(self) -> int:
        found = [self.host.root / path.lstrip("/") for path in self.model_files() if path.endswith(".partial")]
        with contextlib.suppress(FileNotFoundError):  # whole since we looked
            return found[0].stat().st_size if found else 0
        return 0

    @contextlib.contextmanager
    def downloading(self) -> Iterator[subprocess.Popen[str]]:
        """A download whose bytes have begun to come."""
        with self.host.popen(["rbee-hive", "models", "download", "hf:acme/tiny", "--format", "json"]) as process:
            wait_for(lambda: self.partial_bytes() > 0, "the first bytes on disk")
            yield process

    def _ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(f"{HUB}{path}", body, method=method)
        with self.network(), urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


@contextlib.contextmanager
def serving_hub(host: Host, root: Path) -> Iterator[HubHost]:
    """Serve the repository acme/tiny from ``root``, in the host's network."""
    (root / "acme/tiny").mkdir(parents=True)
    file = tiny_gguf(root / "acme/tiny/tiny.gguf", layers=LAYERS)
    made = HubHost(host, sha256=hashlib.sha256(file.read_bytes()).hexdigest(), size_bytes=file.stat().st_size)
    host.write("/etc/systemd/system/rbee-pool.service.d/hub.conf", f"[Service]\nEnvironment=HF_ENDPOINT={HUB}\n")
    host.run(["systemctl", "daemon-reload"])
    with made.network():  # its sockets are the host's from here on
        hub = subprocess.Popen(
            [sys.executable, "-m", "tests.hub", str(root), "--port", HUB.rpartition(":")[2]],
            stdout=subprocess.PIPE,
            text=True,
        )
    with hub:
        assert hub.stdout is not None
        assert "hub over" in hub.stdout.readline()
        wait_for(lambda: _answers(made), "the hub")
        yield made
        hub.terminate()


def _answers(serving: HubHost) -> bool:
    with contextlib.suppress(OSError):
        serving.faults()
        return True
    return False
