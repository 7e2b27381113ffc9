"""The engine: a model, one thread that computes, and a desk between that thread and the event loop."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rbee import log
from rbee.errors import RbeeError, ShuttingDown, WorkerLost
from rbee.llm_worker.desk import Desk, Work, on_its_way_out
from rbee.llm_worker.embedding import Embedding
from rbee.llm_worker.engine import Outlet, Prompt, SlotActivity, Spent
from rbee.llm_worker.generating import Generating
from rbee.llm_worker.keeping import Keeper
from rbee.llm_worker.ports import Context, Embedder, LoadedModel, Loader
from rbee.llm_worker.preparing import Preparer, ShapeOf
from rbee.llm_worker.shape import Shape
from rbee.wire.inference import InferenceRequest

_JOIN_S = 2.0
_TURN_BATCHES = 4
"""Texts need no step of their own for each token, as answers do, so their turns may be longer than a step."""


def shapeless(_: InferenceRequest, __: LoadedModel) -> Shape:
    """Return the shape of an answer that may look as it likes."""
    return Shape()


class ModelEngine:
    """See ``engine.Engine``.

    Args:
        loader: makes the model; blocks.
        model: what it is called, in ``started`` and in errors.
        context_tokens: of each slot; the model's own length if that is less.
        batch_tokens: of one step.
        kv: how keys and values are stored, ``f16`` or ``q8_0``.
        keeper: keeps what slots know over a sleep; None: nobody does.
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
        batch_tokens: int,
        kv: str = "f16",
        shape_of: ShapeOf = shapeless,
        keeper: Keeper | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.slots, self.context_tokens = slots, context_tokens
        self.activity: Sequence[SlotActivity] = tuple(SlotActivity(number=n) for n in range(slots))
        self.spent = Spent()
        self._loader, self._worker, self._name, self._clock = loader, worker, model, clock
        self._threads, self._batch_tokens, self._kv = threads, batch_tokens, kv
        self._shape_of, self._keeper = shape_of, keeper
        self._model: LoadedModel | None = None
        self._context: Context | Embedder | None = None
        self._generating: Generating | None = None
        self._preparer: Preparer | None = None
        self._thread: threading.Thread | None = None
        self._desk = Desk(self._interrupt, self._resume)
        self._died: Callable[[RbeeError], None] = lambda _: None
        self._closing = False
        self._preparing = 0
        self._changed = threading.Condition()
        """Guards who may free the model: it is loaded, asked and closed in different threads."""

    @property
    def slots_busy(self) -> int:
        return sum(slot.busy for slot in self.activity)

    def load(self, on_progress: Callable[[float], None]) -> None:
        def report(progress: float) -> bool:
            on_progress(progress)
            return not self._closing

        try:
            model = self._loader(report)
        except RbeeError:
            if self._closing:
                raise self._given_up() from None
            raise
        run = self._embedding(model) if model.embeds else self._slots(model)
        preparer = Preparer(model, name=self._name, context_tokens=self.context_tokens, shape_of=self._shape_of)
        thread = threading.Thread(target=self._run, args=(run,), name="decode", daemon=True)
        with self._changed:
            self._model = model
            if self._closing:
                self._free()
                raise self._given_up()
            self._preparer, self._thread = preparer, thread
            thread.start()

    def watch(self, died: Callable[[RbeeError], None]) -> None:
        self._died = died

    def prepare(self, request: InferenceRequest) -> Prompt:
        with self._loaded() as preparer:
            return preparer.prepare(request)

    def count(self, request: InferenceRequest) -> int:
        with self._loaded() as preparer:
            return preparer.count(request)

    def submit(self, job: str, prompt: Prompt, outlet: Outlet) -> None:
        self._desk.submit(Work(job=job, prompt=prompt, outlet=outlet, asked_s=self._clock()))

    def hold(self, job: str, on: bool) -> None:
        self._desk.hold(job, on)

    def cancel(self, job: str) -> bool:
        return self._desk.cancel(job)

    def keep(self) -> None:
        keeper, generating = self._keeper, self._generating
        if keeper is not None and generating is not None:
            self._desk.between_steps(lambda: keeper.save(generating.context, generating.known()))

    def close(self) -> None:
        """End everything. What hangs keeps its memory until the process goes: freeing it would crash."""
        with self._changed:
            self._closing, self._preparer, thread = True, None, self._thread
        self._desk.close()
        if thread is None:
            return  # nothing is loaded, or is just being: then whoever loads it frees it
        thread.join(_JOIN_S)
        with self._changed:
            if not thread.is_alive() and self._changed.wait_for(lambda: not self._preparing, _JOIN_S):
                self._free()

    def _slots(self, model: LoadedModel) -> Callable[[], None]:
        self.context_tokens = min(self.context_tokens, model.context_tokens)
        self._context = context = model.context(
            slots=self.slots,
            slot_tokens=self.context_tokens,
            batch_tokens=self._batch_tokens,
            threads=self._threads,
            kv=self._kv,
        )
        self._generating = generating = Generating(
            context, model, self._desk, worker=self._worker, name=self._name, activity=self.activity,
            spent=self.spent, clock=self._clock,
        )  # fmt: skip
        if self._keeper is not None:
            for slot, tokens in self._keeper.restore(context):
                generating.know(slot, tokens)
        return generating.run

    def _embedding(self, model: LoadedModel) -> Callable[[], None]:
        self.context_tokens = min(self.context_tokens, model.context_tokens)
        self._context = embedder = model.embedder(batch_tokens=self.context_tokens, threads=self._threads, kv=self._kv)
        return Embedding(
            embedder, self._desk, turn_tokens=_TURN_BATCHES * self._batch_tokens, worker=self._worker,
            name=self._name, activity=self.activity, spent=self.spent, clock=self._clock,
        ).run  # fmt: skip

    def _run(self, run: Callable[[], None]) -> None:
        broken: RbeeError | None = None
        try:
            run()
        except BaseException as error:  # noqa: BLE001  (a panic of a library is no Exception, and ends us as well)
            log.foreign("decode.ended", error)
            broken = WorkerLost(
                f"the thread of {self._worker} that computes has ended", hint=f"rbee-hive worker logs {self._worker}"
            )
            for slot in self.activity:
                slot.end()
        self._desk.leave(broken)
        if broken is not None:
            self._died(broken)

    def _interrupt(self) -> None:
        context = self._context
        if context is not None:
            context.interrupt()

    def _resume(self) -> None:
        context = self._context
        if context is not None:
            context.resume()

    @contextmanager
    def _loaded(self) -> Iterator[Preparer]:
        """Give what makes prompts; the model is not freed before it was used."""
        with self._changed:
            preparer = self._preparer
            if preparer is None:
                raise self._unready()
            self._preparing += 1
        try:
            yield preparer
        finally:
            with self._changed:
                self._preparing -= 1
                self._changed.notify_all()

    def _given_up(self) -> RbeeError:
        return ShuttingDown(f"{self._worker} was told to end while it was loading {self._name}")

    def _unready(self) -> RbeeError:
        if self._closing:
            return on_its_way_out()
        return RbeeError(f"model {self._name} is not loaded")

    def _free(self) -> None:
        context, model = self._context, self._model
        self._context = self._model = None
        if context is not None and model is not None:
            context.close()
            model.close()
