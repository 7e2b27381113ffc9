"""The engine of today: each slot has a context and a thread of its own, and takes the oldest job that waits."""

import secrets
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from rbee import log
from rbee.errors import ContextTooLong, InvalidRequest, RbeeError
from rbee.llm_worker.channel import Channel
from rbee.llm_worker.decode import Generation
from rbee.llm_worker.engine import Prompt, SlotActivity
from rbee.llm_worker.ports import Decoder, LoadedModel, Loader
from rbee.llm_worker.template import render_chat
from rbee.wire import continuation
from rbee.wire.events import End, Failure, JobEvent, Started, StopReason, last
from rbee.wire.inference import InferenceRequest

CHANNEL_EVENTS = 32
"""A slot may be this far ahead of who takes its events."""

_SEEDS = 2**32 - 1
_JOIN_S = 2.0


@dataclass(slots=True, kw_only=True, eq=False)
class _Work:
    """A job of the engine: waiting, then in a slot."""

    job: str
    prompt: Prompt
    channel: Channel[JobEvent]
    asked_s: float
    cancelled: threading.Event = field(default_factory=threading.Event)
    slot: Decoder | None = None


class SlotEngine:
    """See ``engine.Engine``.

    Args:
        loader: makes the model; blocks.
        model: what it is called, in ``started`` and in errors.
        context_tokens: of each slot; the model's own length if that is less.
    """

    def __init__(
        self,
        loader: Loader,
        *,
        worker: str,
        model: str,
        slots: int,
        context_tokens: int,
        threads: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.slots = slots
        self.context_tokens = context_tokens
        self.activity: Sequence[SlotActivity] = tuple(SlotActivity(number=n) for n in range(slots))
        self._loader, self._worker, self._name = loader, worker, model
        self._cores, self._clock = threads, clock
        self._model: LoadedModel | None = None
        self._decoders: list[Decoder] = []
        self._threads: list[threading.Thread] = []
        self._waiting: deque[_Work] = deque()
        self._known: dict[str, _Work] = {}
        self._news = threading.Condition()
        self._closing = False

    @property
    def slots_busy(self) -> int:
        return sum(slot.busy for slot in self.activity)

    def load(self, on_progress: Callable[[float], None]) -> None:
        def report(progress: float) -> bool:
            on_progress(progress)
            return not self._closing

        model = self._loader(report)
        self.context_tokens = min(self.context_tokens, model.context_tokens)
        self._decoders = [
            model.slot(context_tokens=self.context_tokens, threads=self._cores) for _ in range(self.slots)
        ]
        self._model = model
        for activity, decoder in zip(self.activity, self._decoders, strict=True):
            thread = threading.Thread(
                target=self._serve, args=(model, decoder, activity), name=f"slot-{activity.number}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def prepare(self, request: InferenceRequest) -> Prompt:
        model = self._loaded()
        tokens = self._tokens(model, request)
        room = self.context_tokens - len(tokens)
        if room < 1:
            raise ContextTooLong(
                f"the prompt is {len(tokens)} tokens, the context of {self._name} here holds {self.context_tokens}"
                " with at least one of the answer",
                hint="shorten the prompt, or spawn the worker with a larger --ctx",
                details={"prompt_tokens": len(tokens), "context_tokens": self.context_tokens},
            )
        seed = secrets.randbelow(_SEEDS) if request.seed is None else request.seed
        said = self._said(model, request, room)
        return Prompt(request=request, tokens=tokens, seed=seed, max_tokens=min(request.max_tokens, room), said=said)

    def count(self, request: InferenceRequest) -> int:
        return len(self._tokens(self._loaded(), request))

    def _tokens(self, model: LoadedModel, request: InferenceRequest) -> list[int]:
        if request.messages is not None:
            return model.tokenize_chat(render_chat(request.messages, model.render, model=self._name))
        return model.tokenize(request.prompt or "", special=True)

    def _said(self, model: LoadedModel, request: InferenceRequest, room: int) -> list[int]:
        """Return the tokens to go on from. Raises InvalidRequest for those this model has not, ContextTooLong."""
        said = continuation.unpacked(request.continue_from)
        if any(token >= model.vocabulary for token in said):
            raise InvalidRequest(f"continue_from has tokens that {self._name} here does not know")
        if said and len(said) >= room:
            raise ContextTooLong(
                f"{len(said)} tokens were said already, the context of {self._name} here has room for {room}",
                hint="spawn the worker with a larger --ctx",
                details={"said_tokens": len(said), "context_tokens": self.context_tokens},
            )
        return said

    async def submit(self, job: str, prompt: Prompt) -> AsyncIterator[JobEvent]:
        channel: Channel[JobEvent] = Channel(CHANNEL_EVENTS)
        work = _Work(job=job, prompt=prompt, channel=channel, asked_s=self._clock())
        with self._news:
            self._known[job] = work
            self._waiting.append(work)
            self._news.notify()
        try:
            while True:
                event = await channel.take()
                yield event
                if last(event):
                    return
        finally:
            self._end(work)
            if self._known.get(job) is work:
                del self._known[job]

    def cancel(self, job: str) -> bool:
        work = self._known.get(job)
        if work is not None:
            self._end(work)
        return work is not None

    def close(self) -> None:
        """End everything. A slot that hangs keeps its memory until the process goes: freeing it would crash."""
        with self._news:
            self._closing = True
            self._news.notify_all()
        for job in list(self._known):
            self.cancel(job)
        for thread in self._threads:
            thread.join(_JOIN_S)
        if self._model is not None and not any(thread.is_alive() for thread in self._threads):
            for decoder in self._decoders:
                decoder.close()
            self._model.close()
            self._model = None

    def _end(self, work: _Work) -> None:
        work.cancelled.set()
        work.channel.release()
        with self._news:
            waited = work in self._waiting
            if waited:
                self._waiting.remove(work)
            elif work.slot is not None:
                work.slot.interrupt()
        if waited:
            work.channel.put(_never_started(work.prompt))

    def _loaded(self) -> LoadedModel:
        if self._model is None:
            raise RbeeError(f"model {self._name} is not loaded")
        return self._model

    def _serve(self, model: LoadedModel, decoder: Decoder, activity: SlotActivity) -> None:
        """The life of a slot's thread."""
        while (work := self._next(decoder, activity)) is not None:
            try:
                self._run(model, decoder, activity, work)
            finally:
                with self._news:
                    work.slot = None
                    activity.busy = False

    def _next(self, decoder: Decoder, activity: SlotActivity) -> _Work | None:
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._closing)
            if self._closing:
                return None
            work = self._waiting.popleft()
            work.slot = decoder
            activity.busy, activity.paused, activity.progress_s = True, False, self._clock()
            return work

    def _run(self, model: LoadedModel, decoder: Decoder, activity: SlotActivity, work: _Work) -> None:
        def alive() -> None:
            activity.progress_s = self._clock()

        generation = Generation(
            prompt=work.prompt,
            slot=decoder,
            model=model,
            clock=self._clock,
            asked_s=work.asked_s,
            cancelled=work.cancelled.is_set,
            alive=alive,
        )
        try:
            self._tell(
                work, activity, Started(id=work.job, worker=self._worker, model=self._name, seed=work.prompt.seed)
            )
            for event in generation.events():
                self._tell(work, activity, event)
        except Exception as error:  # noqa: BLE001  (a failed job must not end the slot)
            known = error if isinstance(error, RbeeError) else RbeeError("the decode thread failed")
            log.error("decode.failed", job=work.job, error=repr(error))
            self._tell(work, activity, Failure.of(known))

    def _tell(self, work: _Work, activity: SlotActivity, event: JobEvent) -> None:
        """Hand ``event`` over; waiting for a slow reader is a pause, not a standstill.

        The last one waits for nobody: with it the slot is free.
        """
        if last(event):
            work.channel.release()
            with self._news:
                work.slot, activity.busy = None, False
        activity.paused = True
        work.channel.put(event)
        activity.progress_s = self._clock()
        activity.paused = False


def _never_started(prompt: Prompt) -> End:
    return End(tokens_in=len(prompt.tokens), tokens_out=0, stop_reason=StopReason.CANCELLED, decode_ms=0.0, ttft_ms=0.0)
