"""Whether an answer depends on what is computed beside it, bit by bit: python -m bench.bits

A small model of random weights, quantised by llama.cpp itself to one type after the other, and the embedded model. One
sequence is read and goes on for so many steps, alone and then with others beside it that have other lengths; each time
the row of numbers that its next token is drawn from is compared. At last it goes on from half way at another worker,
which reads what was said together with the prompt.
"""

import ctypes
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import shaped
from bench.processes import BUILD
from bench.report import Table, program
from bench.servers import embedded_model
from rbee.llm_worker.llama import Model
from rbee.llm_worker.llama.library import c

TYPES = ("F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "IQ4_NL", "Q4_K_M", "Q5_K_M", "Q6_K")
SLOT_TOKENS, BATCH_TOKENS = 512, 128
LENGTHS = (20, 250)
"""Of the prompt: one that stays within llama.cpp's first block of 256 tokens, and one that leaves it."""


def measure(steps: int = 30, beside: str = "1,3,7") -> Table:
    """Compare ``steps`` rows of each type with those of the same sequence alone."""
    counts = [int(each) for each in beside.split(",")]
    found: list[list[str | int]] = []
    for name, path in _models():
        model = Model.load(name, [str(path)], gpus=(), on_progress=lambda _: True)
        compared, unseeded, seeded, most = 0, 0, 0, 0.0
        elsewhere: list[bool] = []
        for length in LENGTHS:
            alone = _rows(model, length, steps, others=0)
            padded = _rows(model, length, steps, others=0, padded=True)
            half = steps // 2
            moved = _rows(model, length + half, steps - half, others=0, padded=True)
            elsewhere += [one.tobytes() != other.tobytes() for one, other in zip(padded[half:], moved, strict=True)]
            for others in counts:
                among = _rows(model, length, steps, others=others)
                compared += len(among)
                unseeded += sum(one.tobytes() != other.tobytes() for one, other in zip(alone, among, strict=True))
                seeded += sum(one.tobytes() != other.tobytes() for one, other in zip(padded, among, strict=True))
                most = max(most, *(float(abs(one - other).max()) for one, other in zip(padded, among, strict=True)))
        model.close()
        told = f"{sum(elsewhere)} of {len(elsewhere)}"
        found.append([name, compared, unseeded, seeded, f"{most:.1g}" if most else "0", told])
    return Table(
        name="bits",
        ran=(
            f"One sequence alone, and beside {', '.join(map(str, counts))} others; prompts of"
            f" {' and '.join(map(str, LENGTHS))} tokens, {steps} steps; on the CPU, two threads."
        ),
        columns=("", "rows compared", "differ", "differ where a seed is given", "at most by", "differ when continued"),
        rows=found,
    )


def _models() -> list[tuple[str, Path]]:
    BUILD.mkdir(parents=True, exist_ok=True)
    source = BUILD / "bits-F32.gguf"
    shaped.write(source, shaped.SHAPES["tiny"], embedded_model(), kind=shaped.F32)
    found = [("F32", source)]
    for name in TYPES:
        path = BUILD / f"bits-{name}.gguf"
        params = c.llama_model_quantize_default_params()
        params.ftype = getattr(c, f"LLAMA_FTYPE_MOSTLY_{name}")
        if c.llama_model_quantize(str(source).encode(), str(path).encode(), ctypes.byref(params)):
            raise RuntimeError(f"llama.cpp could not quantise to {name}")
        found.append((name, path))
    return [*found, ("smollm2 (Q4_1)", embedded_model())]


def _rows(model: Model, length: int, steps: int, *, others: int, padded: bool = False) -> Sequence[Any]:
    """Return what follows the prompt, and each of ``steps`` tokens after it; ``padded``: never computed alone."""
    context = model.context(slots=8, slot_tokens=SLOT_TOKENS, batch_tokens=BATCH_TOKENS, threads=2, kv="f16")
    lengths = [length, *(10 + 37 * n for n in range(1, others + 1))]
    texts = [_tokens(model, n) for n in range(others + 1)]
    for slot, (tokens, size) in enumerate(zip(texts, lengths, strict=True)):
        for start in range(0, size, BATCH_TOKENS):
            place = context.add(slot, tokens[start : min(size, start + BATCH_TOKENS)], start, ask=True)
            context.step()
        if slot == 0:
            found = [context.row(place)]
    for step in range(steps):
        places = [
            context.add(slot, tokens[size + step : size + step + 1], size + step, ask=True)
            for slot, (tokens, size) in enumerate(zip(texts, lengths, strict=True))
        ]
        if padded:
            context.pad(1)
        context.step()
        found.append(context.row(places[0]))
    context.close()
    return found


def _tokens(model: Model, seed: int) -> list[int]:
    chosen = random.Random(seed)
    return [chosen.randrange(100, model.vocabulary) for _ in range(SLOT_TOKENS)]


if __name__ == "__main__":
    program(__doc__, measure, steps=30, beside="1,3,7")
