"""A model that one host of a house has, as if from the hub."""

import hashlib

from tests.assets import tiny_gguf
from tests.fleet.house import House
from tests.systemd.lab import MODELS

REFERENCE = "hf:acme/llama::file=llama.gguf"
_PYTHON = "/usr/local/lib/rbee/bin/python"
_RECORD = """
import asyncio, sys
from pathlib import Path
from rbee.adapters.model_store import open_store
from rbee.adapters.model_files import mark
from rbee.pool_core.catalog import Catalog
store = open_store(Path("/var/lib/rbee/models"), [], Catalog())
path = Path(sys.argv[1])
store._register("llama", sys.argv[2], (mark(path, sys.argv[3]),), "c0ffee", ())
"""


def give_llama(house: House, name: str = "workstation") -> None:
    """Give the host acme's llama, a few megabytes of real GGUF."""
    host = house.hosts[name]
    file = host.root / f"{MODELS.lstrip('/')}/llama/llama.gguf"
    file.parent.mkdir(parents=True, exist_ok=True)
    tiny_gguf(file, layers=64)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    host.run([_PYTHON, "-c", _RECORD, f"{MODELS}/llama/llama.gguf", REFERENCE, sha256])
    host.run(["chown", "-R", "rbee:", MODELS])
