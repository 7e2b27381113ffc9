"""A hub on a host's loopback, which its pool is told of: the server of tests/hub, with its faults."""

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbee.pool_core.catalog import HubReference, id_for
from tests.assets import tiny_gguf
from tests.rig.host import Host
from tests.rig.waiting import wait_for
from tests.systemd.lab import network_of

URL = "http://127.0.0.1:18446"
DROP_IN = "/etc/systemd/system/rbee-pool.service.d/hub.conf"
LAYERS = 16  # 2.8 MB
MODEL = id_for(HubReference("acme/small", file="small.gguf"))


@dataclass
class Hub:
    """Serves acme/small on ``host``."""

    host: Host

    def faults(self, **values: Any) -> None:
        """Set what it does wrong; everything else is off."""
        self._ask("PUT", "/-/faults", json.dumps(values).encode())

    def ranges(self) -> list[str]:
        """Return the Range of each request for bytes so far, empty for one from the start."""
        asked = self._ask("GET", "/-/asked")
        return [one["range"] for one in asked if one["method"] == "GET" and "/resolve/" in one["path"]]

    def answers(self) -> bool:
        with contextlib.suppress(OSError):
            self.faults()
            return True
        return False

    def _ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(f"{URL}{path}", body, method=method)
        with network_of(self.host), urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


@contextlib.contextmanager
def hub_on(host: Host, folder: Path) -> Iterator[Hub]:
    """Run one, and tell the host's pool of it."""
    (folder / "acme/small").mkdir(parents=True)
    tiny_gguf(folder / "acme/small/small.gguf", layers=LAYERS)
    host.write(DROP_IN, f"[Service]\nEnvironment=HF_ENDPOINT={URL}\n")
    host.run(["systemctl", "daemon-reload"])
    host.run(["systemctl", "restart", "rbee-pool.service"])
    argv = [sys.executable, "-m", "tests.hub", str(folder), "--port", URL.rpartition(":")[2]]
    with network_of(host):  # its sockets are the host's from here on
        server = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    with server:
        hub = Hub(host)
        wait_for(hub.answers, "the hub")
        yield hub
        server.terminate()
