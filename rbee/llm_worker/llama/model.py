"""Weights in memory, their vocabulary, and the contexts that are made of them."""

import ctypes
import os
from collections.abc import Callable, Sequence
from typing import Any

from rbee.errors import ModelLoadFailed, RbeeError
from rbee.llm_worker.llama import devices
from rbee.llm_worker.llama.context import SlotContext
from rbee.llm_worker.llama.embedder import TextEmbedder
from rbee.llm_worker.llama.library import c, listen, load_failed
from rbee.llm_worker.llama.template import renderer
from rbee.llm_worker.template import Render
from rbee.wire.architectures import EMBEDDERS, why_unusable

_PIECE_BYTES = 256
_KV_TYPES = {"f16": "GGML_TYPE_F16", "q8_0": "GGML_TYPE_Q8_0"}
_POOLING_RANK = 4


class Model:
    """See ``ports.LoadedModel``."""

    def __init__(self, handle: Any, *, on_gpu: bool, adapters: Sequence[Any] = ()) -> None:
        self._handle, self._on_gpu, self._adapters = handle, on_gpu, adapters
        self._vocab = c.llama_model_get_vocab(handle)
        self.vocabulary = int(c.llama_vocab_n_tokens(self._vocab))
        self._ends = frozenset(token for token in range(self.vocabulary) if c.llama_vocab_is_eog(self._vocab, token))
        self.context_tokens = int(c.llama_model_n_ctx_train(handle))
        self.architecture = self._said("general.architecture")
        pooling = self._said(f"{self.architecture}.pooling_type")
        self.ranks = pooling == str(_POOLING_RANK)
        self.embeds = pooling not in ("", "0") or self.architecture in EMBEDDERS
        self.template = self._template()
        self.render = self._renderer()

    @classmethod
    def load(
        cls,
        name: str,
        paths: Sequence[str],
        *,
        gpus: Sequence[int],
        split: Sequence[int] = (),
        layers: int | None = None,
        adapters: Sequence[str] = (),
        on_progress: Callable[[float], bool],
    ) -> "Model":
        """Return the model in ``paths``, of which the parts of a split model are several.

        Args:
            name: what it is called.
            gpus, split, layers: see ``devices.place``.
            adapters: files of LoRA adapters that change it.
            on_progress: gets 0..1 now and then; returning False gives up.

        Raises:
            BackendUnavailable: no such GPU, or this llama.cpp was built without.
            ModelLoadFailed: with llama.cpp's own last word on it.
        """
        listen()
        c.llama_backend_init()
        params = c.llama_model_default_params()
        kept = devices.place(params, gpus=gpus, split=split, layers=layers)
        report = c.llama_progress_callback(lambda progress, _: bool(on_progress(progress)))
        params.progress_callback = report
        # By their paths and not by the first one's name: behind links the parts have names of their own.
        files = (ctypes.c_char_p * len(paths))(*map(os.fsencode, paths))
        handle = c.llama_model_load_from_splits(files, len(paths), params)
        del kept
        if not handle:
            raise load_failed(f"{paths[0]} could not be loaded", hint=f"rbee-hive models verify {name}")
        model = cls(handle, on_gpu=bool(gpus), adapters=[_adapter(handle, path) for path in adapters])
        if why := why_unusable(model.architecture):
            raise ModelLoadFailed(f"{paths[0]} {why}", hint="rbee-hive models list shows what each is for")
        return model

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

    def tokenize_pair(self, query: str, document: str) -> list[int]:
        begin, end, between = (
            int(which(self._vocab)) for which in (c.llama_vocab_bos, c.llama_vocab_eos, c.llama_vocab_sep)
        )
        ends = [end] if end >= 0 else []
        separated = [between] if between >= 0 else ends
        first, second = self.tokenize(query, special=False), self.tokenize(document, special=False)
        return [*([begin] if begin >= 0 else []), *first, *ends, *separated, *second, *ends]

    def piece(self, token: int, *, aloud: bool = False) -> bytes:
        # A buffer for each call: who makes answers ready asks in other threads than the one that computes.
        size = _PIECE_BYTES
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = c.llama_token_to_piece(self._vocab, token, buffer, size, 0, aloud)
            if length >= 0:
                return buffer.raw[:length]
            size = -length

    def ends(self, token: int) -> bool:
        return token in self._ends

    @property
    def end_tokens(self) -> frozenset[int]:
        """Return those that ``ends`` is true of."""
        return self._ends

    def context(self, *, slots: int, slot_tokens: int, batch_tokens: int, threads: int, kv: str) -> SlotContext:
        params = c.llama_context_default_params()
        params.n_ctx = slots * slot_tokens
        params.n_seq_max = slots
        params.n_batch = params.n_ubatch = batch_tokens
        # Only the last token of each slot's part of a step is asked for: without this there is room for all of them,
        # and each is as long as the vocabulary.
        params.n_outputs_max = slots
        params.n_threads = params.n_threads_batch = threads
        params.type_k = params.type_v = getattr(c, _KV_TYPES[kv])
        params.kv_unified = False
        params.no_perf = True
        listen()
        handle = c.llama_init_from_model(self._handle, params)
        if not handle:
            what = f"no context of {slots} times {slot_tokens} tokens ({kv}) could be made"
            raise load_failed(what, hint="use less --ctx or --slots")
        self._adapt(handle)
        return SlotContext(self, handle, slots=slots, batch_tokens=batch_tokens, mixes=self._on_gpu)

    def embedder(self, *, batch_tokens: int, threads: int, kv: str) -> TextEmbedder:
        params = c.llama_context_default_params()
        params.n_ctx = batch_tokens
        params.n_seq_max = TextEmbedder.SEQUENCES
        params.n_batch = params.n_ubatch = batch_tokens
        params.n_threads = params.n_threads_batch = threads
        params.type_k = params.type_v = getattr(c, _KV_TYPES[kv])  # encoders have no cache that could be of a type
        params.embeddings, params.kv_unified, params.no_perf = True, True, True
        listen()
        handle = c.llama_init_from_model(self._handle, params)
        if not handle:
            raise load_failed(f"no context of {params.n_ctx} tokens could be made", hint="use less --ctx")
        self._adapt(handle)
        width = 1 if self.ranks else int(c.llama_model_n_embd_out(self._handle))
        return TextEmbedder(handle, width=width, batch_tokens=batch_tokens)

    def close(self) -> None:
        c.llama_model_free(self._handle)

    def _adapt(self, context: Any) -> None:
        if not self._adapters:
            return
        count = len(self._adapters)
        handles = (c.llama_adapter_lora_p_ctypes * count)(*self._adapters)
        if c.llama_set_adapters_lora(context, handles, count, (ctypes.c_float * count)(*[1.0] * count)):
            raise load_failed(f"{count} adapters could not be applied", hint="spawn it without them")

    def _template(self) -> str:
        source = c.llama_model_chat_template(self._handle, None)
        return bytes(source).decode("utf-8", "replace") if source else ""

    def _renderer(self) -> Render | None:
        if not self.template:
            return None
        begin = self._text_of(c.llama_vocab_bos(self._vocab))
        end = self._text_of(c.llama_vocab_eos(self._vocab))
        return renderer(self.template, begin=begin, end=end)

    def _said(self, key: str) -> str:
        """Return what the header says of ``key``; empty where it says nothing."""
        buffer = ctypes.create_string_buffer(_PIECE_BYTES)
        length = c.llama_model_meta_val_str(self._handle, key.encode(), buffer, _PIECE_BYTES)
        return buffer.value.decode("utf-8", "replace") if length >= 0 else ""

    def _text_of(self, token: int) -> str:
        if token < 0:
            return ""
        return bytes(c.llama_vocab_get_text(self._vocab, token) or b"").decode("utf-8", "replace")


def _adapter(model: Any, path: str) -> Any:
    handle = c.llama_adapter_lora_init(model, os.fsencode(path))
    if not handle:
        raise load_failed(f"the adapter {path} could not be loaded", hint="an adapter has to be made for its model")
    return handle
