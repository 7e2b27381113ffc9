"""A model that one host of a house has, as if from the hub."""

import hashlib

from tests.assets import tiny_gguf
from tests.fleet.house import House
from tests.systemd.lab import MODELS

REFERENCE = "hf:acme/llama::file=llama.gguf"
_PYTHON = "/usr/local/lib/rbee/bin/python"
_RECORD = """
import sys
from pathlib import Path
from rbee.adapters.model_files import describe, inspect_all, mark
from rbee.adapters.model_store.records import Record, Records
path = Path(sys.argv[1])
files = (mark(path, sys.argv[3]),)
model = describe("llama", sys.argv[2], files, inspect_all([path]), revision="c0ffee")
Records(Path("/var/lib/rbee/models")).write(Record(model=model, files=files))
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
