"""llama.cpp through its C interface: a model, and slots that each hold one context. The only llama_cpp import.

Nothing here knows of requests, events or asyncio. All calls block; ctypes lets go of the GIL while they do.
"""

import ctypes
import math
import os
from collections import deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from rbee import log
from rbee.errors import BackendUnavailable, ModelLoadFailed, RbeeError
from rbee.llm_worker.ports import PREFILL_TOKENS, Interrupted, Sampling
from rbee.llm_worker.template import Render, TemplateRefused, Turn

# ggml's OpenMP threads spin while they wait; spinning for ever beside a busy neighbour costs two thirds of the
# speed, not spinning at all costs as much on an idle machine (measured). libgomp reads this when it is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import llama_cpp.llama_cpp as c

_LOG_ERROR, _LOG_MORE = 4, 5
_GPU_KINDS = (1, 2)  # GGML_BACKEND_DEVICE_TYPE_GPU, …_IGPU
_ALL_LAYERS = 999
_PENALTY_WINDOW_TOKENS = 64
_ABORTED = 2
_complaints: deque[str] = deque(maxlen=8)


class Model:
    """See ``ports.LoadedModel``."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._vocab = c.llama_model_get_vocab(handle)
        self.vocabulary = int(c.llama_vocab_n_tokens(self._vocab))
        self._ends = frozenset(token for token in range(self.vocabulary) if c.llama_vocab_is_eog(self._vocab, token))
        self.context_tokens = int(c.llama_model_n_ctx_train(handle))
        self.render = self._template()

    @classmethod
    def load(
        cls,
        name: str,
        paths: Sequence[str],
        *,
        gpus: Sequence[int],
        split: Sequence[int] = (),
        on_progress: Callable[[float], bool],
    ) -> "Model":
        """Return the model in ``paths``, of which the parts of a split model are several.

        Args:
            name: what it is called.
            gpus: which one takes all layers, or which share them; none keeps them on the CPU.
            split: how they share them; without it by what each has free.
            on_progress: gets 0..1 now and then; returning False gives up.

        Raises:
            BackendUnavailable: no such GPU, or this llama.cpp was built without.
            ModelLoadFailed: with llama.cpp's own last word on it.
        """
        _listen()
        c.llama_backend_init()
        params = c.llama_model_default_params()
        params.n_gpu_layers = _ALL_LAYERS if gpus else 0
        params.split_mode = c.LLAMA_SPLIT_MODE_NONE
        params.main_gpu = _visible_gpu(gpus[0]) if len(gpus) == 1 else 0
        shares = tensor_split(gpus, split, len(_gpu_devices()), c.llama_max_devices()) if len(gpus) > 1 else []
        kept = (ctypes.c_float * len(shares))(*shares)  # for as long as the model is being loaded
        if shares:
            params.split_mode = c.LLAMA_SPLIT_MODE_LAYER
            params.tensor_split = kept
        report = c.llama_progress_callback(lambda progress, _: bool(on_progress(progress)))
        params.progress_callback = report
        _complaints.clear()
        handle = c.llama_model_load_from_file(os.fsencode(paths[0]), params)
        if not handle:
            raise _load_failed(f"{paths[0]} could not be loaded", hint=f"rbee-hive models verify {name}")
        return cls(handle)

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        data = text.encode()
        room = len(data) + 8
        buffer = (c.llama_token * room)()
        count = c.llama_tokenize(self._vocab, data, len(data), buffer, room, special, True)
        if count < 0:
            raise RbeeError(f"llama.cpp wants {-count} tokens for {len(data)} bytes")
        return list(buffer[:count])

    def tokenize_chat(self, text: str) -> list[int]:
        begin = self._text_of(c.llama_vocab_bos(self._vocab))
        return self.tokenize(text, special=not (begin and text.startswith(begin)))

    def piece(self, token: int) -> bytes:
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = c.llama_token_to_piece(self._vocab, token, buffer, size, 0, False)
            if length >= 0:
                return buffer.raw[:length]
            size = -length

    def ends(self, token: int) -> bool:
        return token in self._ends

    def slot(self, *, context_tokens: int, threads: int) -> "Slot":
        """Raises ModelLoadFailed when there is no memory for its cache."""
        params = c.llama_context_default_params()
        params.n_ctx = context_tokens
        params.n_batch = params.n_ubatch = PREFILL_TOKENS
        params.n_seq_max = 1
        params.n_threads = params.n_threads_batch = threads
        params.no_perf = True
        _complaints.clear()
        handle = c.llama_init_from_model(self._handle, params)
        if not handle:
            raise _load_failed(f"no context of {context_tokens} tokens could be made", hint="use less --ctx")
        return Slot(handle, vocabulary=self.vocabulary, ends=self._ends)

    def close(self) -> None:
        c.llama_model_free(self._handle)

    def _template(self) -> Render | None:
        source = c.llama_model_chat_template(self._handle, None)
        if not source:
            return None
        begin = self._text_of(c.llama_vocab_bos(self._vocab))
        end = self._text_of(c.llama_vocab_eos(self._vocab))
        return _renderer(source.decode("utf-8", "replace"), begin=begin, end=end)

    def _text_of(self, token: int) -> str:
        if token < 0:
            return ""
        return bytes(c.llama_vocab_get_text(self._vocab, token) or b"").decode("utf-8", "replace")


class Slot:
    """See ``ports.Decoder``."""

    def __init__(self, handle: Any, *, vocabulary: int, ends: Collection[int]) -> None:
        self._handle = handle
        self._vocabulary = vocabulary
        self._ends = ends
        self._sampler: Any = None
        self._flag = ctypes.create_string_buffer(2)
        # llama.cpp asks between two operations whether to go on. A Python function there would take the GIL a
        # thousand times a token; strlen of a string that we keep empty, or not, answers the same in C.
        self._asks = ctypes.cast(ctypes.CDLL(None).strlen, c.ggml_abort_callback)
        c.llama_set_abort_callback(handle, self._asks, ctypes.cast(self._flag, ctypes.c_void_p))

    def begin(self, sampling: Sampling) -> None:
        self._flag[0] = b"\0"
        c.llama_memory_clear(c.llama_get_memory(self._handle), True)
        self.end()
        self._sampler = _sampler(sampling, self._vocabulary, never=self._ends if sampling.ignore_eos else ())

    def read(self, tokens: Sequence[int]) -> None:
        batch = (c.llama_token * len(tokens))(*tokens)
        code = c.llama_decode(self._handle, c.llama_batch_get_one(batch, len(tokens)))
        if code == _ABORTED:
            raise Interrupted
        if code != 0:
            raise RbeeError(f"llama.cpp could not decode {len(tokens)} tokens: code {code}")

    def remember(self, tokens: Sequence[int]) -> None:
        for token in tokens[-_PENALTY_WINDOW_TOKENS:]:
            c.llama_sampler_accept(self._sampler, token)

    def draw(self) -> int:
        return int(c.llama_sampler_sample(self._sampler, self._handle, -1))

    def interrupt(self) -> None:
        self._flag[0] = b"\1"

    def end(self) -> None:
        if self._sampler is not None:
            c.llama_sampler_free(self._sampler)
            self._sampler = None

    def close(self) -> None:
        self.end()
        c.llama_free(self._handle)


def _sampler(sampling: Sampling, vocabulary: int, *, never: Collection[int]) -> Any:
    chain = c.llama_sampler_chain_init(c.llama_sampler_chain_default_params())
    if never:
        biases = (c.llama_logit_bias * len(never))(*[c.llama_logit_bias(token, -math.inf) for token in never])
        c.llama_sampler_chain_add(chain, c.llama_sampler_init_logit_bias(vocabulary, len(never), biases))
    if sampling.repeat_penalty != 1.0:
        penalty = c.llama_sampler_init_penalties(vocabulary, _PENALTY_WINDOW_TOKENS, sampling.repeat_penalty, 0.0, 0.0)
        c.llama_sampler_chain_add(chain, penalty)
    if sampling.temperature == 0:
        c.llama_sampler_chain_add(chain, c.llama_sampler_init_greedy())
        return chain
    if sampling.top_k:
        c.llama_sampler_chain_add(chain, c.llama_sampler_init_top_k(sampling.top_k))
    c.llama_sampler_chain_add(chain, c.llama_sampler_init_top_p(sampling.top_p, 1))
    c.llama_sampler_chain_add(chain, c.llama_sampler_init_min_p(sampling.min_p, 1))
    c.llama_sampler_chain_add(chain, c.llama_sampler_init_temp(sampling.temperature))
    c.llama_sampler_chain_add(chain, c.llama_sampler_init_dist(sampling.seed))
    return chain


def _renderer(source: str, *, begin: str, end: str) -> Render | None:
    """Return the template as a function; None for one that is no Jinja."""
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter  # noqa: PLC0415  (loaded with the model, not before)

    try:
        formatter = Jinja2ChatFormatter(source, eos_token=end, bos_token=begin)
    except Exception as error:  # noqa: BLE001  (the text comes from the file and may be anything)
        log.warning("template.rejected", error=str(error)[:300])
        return None

    def render(turns: Sequence[Turn]) -> str:
        try:
            return str(formatter(messages=[dict(turn) for turn in turns]).prompt)
        except Exception as error:  # noqa: BLE001  (a program from the file, which may fail in any way)
            raise TemplateRefused(str(error)) from None

    return render


def tensor_split(gpus: Sequence[int], split: Sequence[int], visible: int, room: int) -> list[float]:
    """Return what part of a model each device takes, as llama.cpp numbers them.

    Where the unit's device policy leaves just ``gpus`` to this process they are numbered from 0 here; where there is
    none (a user's manager) all are there, under their own numbers, and the others take nothing.

    Args:
        visible: how many GPUs llama.cpp sees; ``room`` how many it has places for.

    Raises:
        BackendUnavailable: it does not see one of them.
    """
    places = range(len(gpus)) if visible == len(gpus) else gpus
    if visible < len(gpus) or max(places) >= visible:
        raise _unseen(max(gpus), visible)
    shares = [0.0] * room
    for place, share in zip(places, split or [1] * len(gpus), strict=True):
        shares[place] = float(share)
    return shares


def _visible_gpu(gpu: int) -> int:
    """Return the index llama.cpp knows ``gpu`` by.

    Where the unit's device policy leaves one GPU to this process it is number 0 here, whatever its number there.
    """
    gpus = len(_gpu_devices())
    if gpus == 1:
        return 0
    if gpu >= gpus:
        raise _unseen(gpu, gpus)
    return gpu


def _unseen(gpu: int, visible: int) -> BackendUnavailable:
    return BackendUnavailable(
        f"gpu {gpu} was asked for, llama.cpp sees {visible}",
        hint="rbee-hive gpu status; or spawn with backend cpu",
        details={"gpus": visible},
    )


def _gpu_devices() -> list[Any]:
    library = ctypes.CDLL(str(Path(c.__file__).parent / "lib/libggml.so"))
    library.ggml_backend_dev_get.restype = ctypes.c_void_p
    library.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    library.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    library.ggml_backend_dev_count.restype = ctypes.c_size_t
    devices = [library.ggml_backend_dev_get(n) for n in range(library.ggml_backend_dev_count())]
    return [device for device in devices if library.ggml_backend_dev_type(device) in _GPU_KINDS]


def _load_failed(what: str, *, hint: str) -> ModelLoadFailed:
    """llama.cpp's first complaint is the reason; those after it only say that this was one."""
    first = _complaints[0].partition(": ")[2] if _complaints else ""
    return ModelLoadFailed(
        f"{what}: {first or 'llama.cpp did not say why'}", hint=hint, details={"log": list(_complaints)}
    )


def _on_log(level: int, text: bytes, _: Any) -> None:
    line = text.decode("utf-8", "replace").strip()
    if not line or level == _LOG_MORE:
        return
    if level == _LOG_ERROR:
        _complaints.append(line)
    log.debug("llama.said", text=line)


_LOG_CALLBACK = c.llama_log_callback(_on_log)  # kept: llama.cpp calls it for as long as the process lives


def _listen() -> None:
    c.llama_log_set(_LOG_CALLBACK, None)
