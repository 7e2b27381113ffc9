"""What llama.cpp is told of GPUs, where that can be said without one; and what is loaded beside it, and when."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from rbee.errors import BackendUnavailable
from rbee.llm_worker.llama.devices import place, tensor_split


@pytest.mark.parametrize(
    ("gpus", "split", "visible", "shares"),
    [
        ((1, 3), (63, 37), 2, [63, 37, 0, 0, 0]),  # the device policy leaves just those two
        ((1, 3), (63, 37), 4, [0, 63, 0, 37, 0]),  # a user's manager leaves all
        ((0, 1), (), 2, [1, 1, 0, 0, 0]),
    ],
)
def test_each_gpu_takes_its_share_and_no_other_gpu_any(
    gpus: tuple[int, ...], split: tuple[int, ...], visible: int, shares: list[float]
) -> None:
    assert tensor_split(gpus, split, visible, 5) == shares


def test_a_gpu_that_llama_does_not_see_is_named() -> None:
    for visible in (0, 1, 3):
        with pytest.raises(BackendUnavailable, match=f"gpu 3 was asked for, llama.cpp sees {visible}"):
            tensor_split((1, 3), (50, 50), visible, 5)


def test_a_worker_on_the_cpu_leaves_every_gpu_alone() -> None:
    params = SimpleNamespace()
    assert place(params, gpus=(), split=(), layers=None) is None
    assert (params.n_gpu_layers, params.main_gpu) == (0, -1)


PREPARE = """
import sys
from rbee.llm_worker.argv import Options
from rbee.llm_worker.worker import make_engine
from rbee.wire.inference import InferenceRequest
from rbee.wire.workers import Backend
engine = make_engine(Options(
    id="w", model="tiny", backend=Backend.CPU, address="a", ctx=512, slots=1, idle=1, threads=1, path=(sys.argv[1],)
))
engine.load(lambda _: None)
for logprobs in (None, 0):
    engine.prepare(InferenceRequest(prompt="a", logprobs=logprobs))
    print("numpy" in sys.modules)
engine.close()
"""


def test_numpy_is_loaded_as_a_prompt_is_made_that_wants_it_and_not_while_answers_wait(tiny: Path) -> None:
    said = subprocess.run([sys.executable, "-c", PREPARE, str(tiny)], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["False", "True"]
