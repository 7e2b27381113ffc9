"""How long is this prompt for its model? Asked of a worker that has the model's own tokenizer, when it matters."""

import asyncio
import contextlib
import dataclasses

from rbee.errors import InvalidRequest, RbeeError
from rbee.orchestrator_core.admission import context_of, surely_fits, tokens_at_least, too_long
from rbee.orchestrator_core.scheduling import seats_of
from rbee.orchestrator_core.view import View
from rbee.queen.pools import Pools
from rbee.wire.inference import InferenceRequest
from rbee.wire.jobs import Generation, JobSpec, Work
from rbee.wire.workers import WorkerState

COUNT_S = 2.0
"""A worker that takes longer is not waited for: it will say itself what does not fit."""


async def prompt_tokens(spec: JobSpec, view: View, pools: Pools) -> int:
    """Return how many tokens the prompt has, or at least has; 0 where it surely fits or nobody can tell.

    Raises:
        ContextTooLong: no worker there is, or could be started, has room for it.
        InvalidRequest: the model's template refuses the messages.
    """
    context = context_of(spec, view) if spec.work is Work.GENERATE else None  # each input has the context for itself
    if context is None or surely_fits(spec, context):
        return 0
    counted = await count(spec, view, pools)
    tokens = tokens_at_least(spec, context) if counted is None else counted
    refusal = too_long(spec, tokens, context, counted=counted is not None)
    if refusal is not None:
        raise refusal
    return tokens


async def count(spec: JobSpec, view: View, pools: Pools) -> int | None:
    """Return how many tokens the prompt has; None where no worker that has the model is awake to tell."""
    awake = [seat for seat in seats_of(spec, view, {}) if seat.worker.state in (WorkerState.READY, WorkerState.BUSY)]
    client = pools.worker(awake[0].pool, awake[0].worker.id) if awake else None
    if client is None:
        return None
    asked = {field.name: getattr(spec, field.name) for field in dataclasses.fields(Generation)}
    async with contextlib.aclosing(client):
        try:
            async with asyncio.timeout(COUNT_S):
                return (await client.count_tokens(InferenceRequest(**asked))).tokens
        except InvalidRequest:
            raise
        except (RbeeError, TimeoutError):
            return None
