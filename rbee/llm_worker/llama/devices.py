"""GPUs as llama.cpp numbers them, and what part of a model each takes."""

import ctypes
from collections.abc import Sequence
from typing import Any

from rbee.errors import BackendUnavailable
from rbee.llm_worker.llama import library
from rbee.llm_worker.llama.library import c

_GPU_KINDS = (1, 2)  # GGML_BACKEND_DEVICE_TYPE_GPU, …_IGPU
_ALL_LAYERS = 999


def place(params: Any, *, gpus: Sequence[int], split: Sequence[int], layers: int | None) -> Any:
    """Write into ``params`` of a model which devices take it; what is returned has to live until it is loaded.

    Args:
        gpus: which one takes all layers, or which share them; none keeps them on the CPU.
        split: how they share them; without it evenly.
        layers: how many go there; None: all.

    Raises:
        BackendUnavailable: no such GPU, or this llama.cpp was built without.
    """
    params.n_gpu_layers = (_ALL_LAYERS if layers is None else layers) if gpus else 0
    params.split_mode = c.LLAMA_SPLIT_MODE_NONE
    # Less than 0: none at all. With 0 layers on GPU 0, a llama.cpp that has one would read long prompts there.
    params.main_gpu = _visible_gpu(gpus[0]) if len(gpus) == 1 else -1
    if len(gpus) < 2:
        return None
    shares = tensor_split(gpus, split, len(_gpu_devices()), c.llama_max_devices())
    kept = (ctypes.c_float * len(shares))(*shares)
    params.split_mode, params.main_gpu = c.LLAMA_SPLIT_MODE_LAYER, 0
    params.tensor_split = kept
    return kept


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
    ggml = library.ggml()
    ggml.ggml_backend_dev_get.restype = ctypes.c_void_p
    ggml.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    ggml.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    ggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    devices = [ggml.ggml_backend_dev_get(n) for n in range(ggml.ggml_backend_dev_count())]
    return [device for device in devices if ggml.ggml_backend_dev_type(device) in _GPU_KINDS]
