"""The slots of one llama.cpp context, asked directly: what an engine around it would hide."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rbee.llm_worker.llama.context import SlotContext
from rbee.llm_worker.llama.model import Model
from rbee.llm_worker.ports import Sampling

LETTERS = list(range(3, 103))
GREEDY = Sampling(
    temperature=0, top_k=0, top_p=1.0, min_p=0.0, repeat_penalty=1.0, seed=0, ignore_eos=False
)  # fmt: skip


@pytest.fixture
def context(tiny: Path) -> Iterator[SlotContext]:
    model = Model.load("tiny", [str(tiny)], gpus=(), on_progress=lambda _: True)
    made = model.context(slots=2, slot_tokens=512, batch_tokens=128, threads=1, kv="f16")
    yield made
    made.close()
    model.close()


def said(context: SlotContext, slot: int, tokens: list[int], at: int) -> int:
    """Return the likeliest token after ``tokens``."""
    sampler = context.sampler(GREEDY, (), ())
    place = context.add(slot, tokens, at, ask=True)
    context.step()
    (token,) = context.draw([(sampler, place)])
    context.free(sampler)
    return token


def test_what_was_added_to_a_step_that_did_not_come_to_be_is_dropped(context: SlotContext) -> None:
    wanted = said(context, 0, LETTERS, 0)
    context.keep(0, 0)
    context.add(1, LETTERS, 0, ask=True)
    with pytest.raises(ValueError, match="size"):
        context.add(0, LETTERS, 0, ask=True)
    context.resume()
    assert said(context, 0, LETTERS, 0) == wanted


def test_a_copy_is_kept_once_it_was_made(context: SlotContext, tmp_path: Path) -> None:
    """llama.cpp makes it when it computes next; before that it would save what lay there before."""
    said(context, 0, LETTERS, 0)
    context.copy(0, 1)
    assert not context.save(1, str(tmp_path / "early"), LETTERS)
    assert context.save(0, str(tmp_path / "source"), LETTERS)
    wanted = said(context, 1, [9], len(LETTERS))
    context.keep(1, len(LETTERS))
    assert context.save(1, str(tmp_path / "copy"), LETTERS)
    context.keep(0, 0)
    assert context.restore(0, str(tmp_path / "copy")) == LETTERS
    assert said(context, 0, [9], len(LETTERS)) == wanted
