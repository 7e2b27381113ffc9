"""How one answer's tokens are drawn: a chain of llama.cpp's samplers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rbee.llm_worker.llama.library import c
from rbee.llm_worker.ports import Sampling

PENALTY_WINDOW_TOKENS = 64
_WHOLE_ANSWER = 1 << 15


LEAST_TEMPERATURE = 1e-6
"""What is colder takes the likeliest: numbers divided by less are infinite in 32 bits, and then any token is drawn."""


@dataclass(frozen=True, slots=True)
class Chain:
    """``handle`` owns its parts; of these ``repeat`` knows the prompt, too, and ``frequent`` the answer alone."""

    handle: Any
    repeat: Any = None
    frequent: Any = None

    def remember(self, prompt: Sequence[int], said: Sequence[int]) -> None:
        """Let the penalties know what came before the tokens that are drawn from here on."""
        if self.repeat is not None:
            for token in [*prompt[-PENALTY_WINDOW_TOKENS:], *said][-PENALTY_WINDOW_TOKENS:]:
                c.llama_sampler_accept(self.repeat, token)
        if self.frequent is not None:
            for token in said:
                c.llama_sampler_accept(self.frequent, token)

    def free(self) -> None:
        c.llama_sampler_free(self.handle)


def chain(sampling: Sampling, vocabulary: int, *, ends: Sequence[int]) -> Chain:
    """Return a new chain. ``ends``: the tokens that are never drawn if the end is to be ignored.

    Biases come first, then penalties: repeat counts prompt and answer, frequency and presence the answer alone, as
    OpenAI has it.
    """
    handle = c.llama_sampler_chain_init(c.llama_sampler_chain_default_params())

    def add(sampler: Any) -> None:
        c.llama_sampler_chain_add(handle, sampler)

    biases = dict(sampling.logit_bias)
    if sampling.ignore_eos:
        biases.update(dict.fromkeys(ends, -math.inf))
    if biases:
        rows = (c.llama_logit_bias * len(biases))(*[c.llama_logit_bias(*pair) for pair in biases.items()])
        add(c.llama_sampler_init_logit_bias(vocabulary, len(biases), rows))
    repeat = frequent = None
    if sampling.repeat_penalty != 1.0:
        repeat = _penalty(vocabulary, PENALTY_WINDOW_TOKENS, sampling.repeat_penalty, 0.0, 0.0)
        add(repeat)
    if sampling.frequency_penalty or sampling.presence_penalty:
        frequent = _penalty(vocabulary, _WHOLE_ANSWER, 1.0, sampling.frequency_penalty, sampling.presence_penalty)
        add(frequent)
    if sampling.temperature < LEAST_TEMPERATURE:
        add(c.llama_sampler_init_greedy())
        return Chain(handle, repeat, frequent)
    if sampling.top_k:
        add(c.llama_sampler_init_top_k(sampling.top_k))
    add(c.llama_sampler_init_top_p(sampling.top_p, 1))
    add(c.llama_sampler_init_min_p(sampling.min_p, 1))
    add(c.llama_sampler_init_temp(sampling.temperature))
    add(c.llama_sampler_init_dist(sampling.seed))
    return Chain(handle, repeat, frequent)


def _penalty(vocabulary: int, window: int, repeat: float, frequency: float, presence: float) -> Any:
    return c.llama_sampler_init_penalties(vocabulary, window, repeat, frequency, presence)
