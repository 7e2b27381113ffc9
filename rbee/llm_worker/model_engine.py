"""The engine: a model, one thread that computes, and a desk between that thread and the event loop."""

import threading
import time
from collections.abc import Callable, Sequence

from rbee import log
from rbee.errors import RbeeError
from rbee.llm_worker.desk import Desk, Work
from rbee.llm_worker.embedding import Embedding
from rbee.llm_worker.engine import Outlet, Prompt, SlotActivity, Spent
from rbee.llm_worker.generating import Generating
from rbee.llm_worker.keeping import Keeper
from rbee.llm_worker.ports import Context, Embedder, LoadedModel, Loader
from rbee.llm_worker.preparing import Preparer, ShapeOf
from rbee.llm_worker.shape import Shape
from rbee.wire.inference import InferenceRequest

_JOIN_S = 2.0


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
        self._desk = Desk(self._interrupt)
        self._closing = False

    @property
    def slots_busy(self) -> int:
        return sum(slot.busy for slot in self.activity)

    def load(self, on_progress: Callable[[float], None]) -> None:
        def report(progress: float) -> bool:
            on_progress(progress)
            return not self._closing

        model = self._loader(report)
        run = self._embedding(model) if model.embeds else self._slots(model)
        self._preparer = Preparer(model, name=self._name, context_tokens=self.context_tokens, shape_of=self._shape_of)
        self._model = model
        thread = threading.Thread(target=self._run, args=(run,), name="decode", daemon=True)
        thread.start()
        self._thread = thread

    def prepare(self, request: InferenceRequest) -> Prompt:
        return self._loaded().prepare(request)

    def count(self, request: InferenceRequest) -> int:
        return self._loaded().count(request)

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
        self._closing = True
        self._desk.close()
        thread, model, context = self._thread, self._model, self._context
        if thread is not None:
            thread.join(_JOIN_S)
        if model is not None and context is not None and not (thread is not None and thread.is_alive()):
            self._model = self._context = None
            context.close()
            model.close()

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
            embedder, self._desk, worker=self._worker, name=self._name, activity=self.activity, spent=self.spent,
            clock=self._clock,
        ).run  # fmt: skip

    def _run(self, run: Callable[[], None]) -> None:
        try:
            run()
        except Exception as error:
            log.error("decode.ended", error=repr(error))
            raise

    def _interrupt(self) -> None:
        context = self._context
        if context is not None:
            context.interrupt()

    def _loaded(self) -> Preparer:
        if self._preparer is None:
            raise RbeeError(f"model {self._name} is not loaded")
        return self._preparer
