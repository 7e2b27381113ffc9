"""May this job join the queue? Decided before anything is stored."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from rbee.errors import ContextTooLong, DeadlineUnmet, QueueFull, RbeeError
from rbee.orchestrator_core.prompts import least_bytes, prompt_bytes
from rbee.orchestrator_core.view import View, is_open
from rbee.wire.jobs import JobSpec
from rbee.wire.words import counted

UNBOUNDED = -1
_USUALLY_S = 5
_LONGEST_RETRY_AFTER_S = 60
TEMPLATE_TOKENS = 32
"""A chat template puts so many tokens around a message, and around the whole, at the very most."""
_TOOLS_TOKENS = 1024
"""So many may be said around tools, where they are told in words."""


@dataclass(frozen=True, slots=True)
class Accept:
    """``displaces`` is the waiting job that has to leave for it, if any."""

    displaces: str | None = None


@dataclass(frozen=True, slots=True)
class Refuse:
    error: RbeeError


Admission: TypeAlias = Accept | Refuse


def admit(
    spec: JobSpec,
    *,
    waiting: int,
    oldest_batch: str | None,
    capacity: int,
    policy: str,
    start_ms: int | None,
    next_ms: Callable[[], int | None],
) -> Admission:
    """Accept ``spec``, which does not start at once, or say why not.

    Args:
        waiting: how many do.
        oldest_batch: of the batch jobs among them the one that came first.
        capacity: how many may wait; -1 is unbounded.
        policy: ``reject`` or ``drop-lru``: what to do with one more.
        start_ms: when it would start, from now; None where nothing is known.
        next_ms: tells when the next of those that wait will start; asked where there is no place.
    """
    if spec.deadline_ms is not None and start_ms is not None and start_ms > spec.deadline_ms:
        return Refuse(_unmet(spec.deadline_ms, start_ms))
    if capacity == UNBOUNDED or waiting < capacity:
        return Accept()
    if policy == "drop-lru" and oldest_batch is not None:
        return Accept(displaces=oldest_batch)
    return Refuse(full(waiting, capacity, next_ms()))


def full(waiting: int, capacity: int, next_ms: float | None = None) -> QueueFull:
    """Return the error that says how long to stay away: until there is a place in the queue."""
    soon_s = _USUALLY_S if next_ms is None else math.ceil(next_ms / 1000)
    return QueueFull(
        f"the queue holds {counted(waiting, 'job')}, its capacity is {capacity}",
        hint="try again later, or raise [queen] queue_capacity",
        details={
            "retry_after_s": max(1, min(soon_s, _LONGEST_RETRY_AFTER_S)),
            "waiting": waiting,
            "capacity": capacity,
        },
    )


def given_up(job: str, capacity: int) -> QueueFull:
    """Return the error of a job that left for another one."""
    return QueueFull(
        f"job {job} was given up for a newer one: the queue is full, and of its batch jobs it had waited longest",
        hint="submit it again later, or raise [queen] queue_capacity",
        details={"capacity": capacity, "policy": "drop-lru"},
    )


def _unmet(deadline_ms: int, predicted_start_ms: int) -> DeadlineUnmet:
    return DeadlineUnmet(
        f"deadline_ms is {deadline_ms}, but the job would start in about {predicted_start_ms} ms",
        hint="allow more time, or try when fewer jobs wait",
        details={"deadline_ms": deadline_ms, "predicted_start_ms": predicted_start_ms},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """How long prompts of a model may be: in the shortest and the longest context that there is or would be.

    Args:
        token_bytes: no token is longer; 0 where nobody says.
    """

    least: int
    most: int
    token_bytes: int


def context_of(spec: JobSpec, view: View) -> Context | None:
    """Return what contexts ``spec`` could get, at workers that are there and at those that could be started."""
    model = view.fleet.names.canonical(spec.model)
    sizes = [w.ctx for pool, w in view.fleet.workers(model) if w.ctx and is_open(pool, spec.placement)]
    files = [(pool, file) for pool, file in view.fleet.files(model) if is_open(pool, spec.placement)]
    for pool, file in files:
        backends = view.fleet.backends(pool.id, file)
        sizes += [need.ctx for backend in backends if (need := view.fleet.need(pool.id, file, backend)).ctx]
    if not sizes:
        return None
    longest = [file.longest_token_bytes for _, file in files]
    return Context(least=min(sizes), most=max(sizes), token_bytes=max(longest) if longest and all(longest) else 0)


def surely_fits(spec: JobSpec, context: Context) -> bool:
    """Say so without a tokenizer: no text has more tokens than bytes, and a template adds little."""
    tools = _TOOLS_TOKENS if spec.tools else 0
    return prompt_bytes(spec) + tools + TEMPLATE_TOKENS * (1 + len(spec.messages or ())) < context.least


def tokens_at_least(spec: JobSpec, context: Context) -> int:
    """Return how many tokens the prompt has at least, by the longest token there is; 0 where nothing is known."""
    return -(-least_bytes(spec) // context.token_bytes) if context.token_bytes else 0


def too_long(spec: JobSpec, tokens: int, context: Context, *, counted: bool) -> ContextTooLong | None:
    """Return the refusal of a prompt that no context has room for, with one token of the answer."""
    if tokens < context.most:
        return None
    about = "" if counted else "at least "
    return ContextTooLong(
        f"the prompt is {about}{tokens} tokens, the longest context of {spec.model} here holds {context.most}"
        " with at least one of the answer",
        hint="shorten the prompt, or spawn a worker with a larger --ctx",
        details={"prompt_tokens": tokens, "context_tokens": context.most},
    )
