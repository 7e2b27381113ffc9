"""What Prometheus is told of a worker."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from rbee.llm_worker.engine import Spent
from rbee.wire.events import End, Failure, JobEvent

_TTFT_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_DECODE_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class WorkerMetrics:
    """Counters by name; ``registry`` is served on /metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.tokens_in = Counter("rbee_worker_tokens_in", "Prompt tokens taken.", registry=self.registry)
        self.tokens_out = Counter("rbee_worker_tokens_out", "Tokens generated.", registry=self.registry)
        self.load_seconds = Gauge(
            "rbee_worker_load_seconds", "How long the model took to load.", registry=self.registry
        )
        self._slots = Gauge("rbee_worker_slots", "Answers generated at once at most.", registry=self.registry)
        self._busy = Gauge("rbee_worker_slots_busy", "Answers being generated.", registry=self.registry)
        self._outcomes = Counter(
            "rbee_worker_generations",
            "Generations ended, by stop reason or error.",
            ("outcome",),
            registry=self.registry,
        )
        self._ttft = Histogram(
            "rbee_worker_ttft_seconds", "From request to first token.", buckets=_TTFT_S, registry=self.registry
        )
        self._decode = Histogram(
            "rbee_worker_decode_seconds", "From prompt read to last token.", buckets=_DECODE_S, registry=self.registry
        )

    def watch_slots(self, slots: int, busy: Callable[[], int]) -> None:
        self._slots.set(slots)
        self._busy.set_function(busy)

    def watch_spent(self, spent: Spent) -> None:
        """Tell where the engine's time goes."""
        self.registry.register(_Engine(spent))

    def ended(self, event: JobEvent) -> None:
        """Count a generation by its last event."""
        match event:
            case End():
                self._outcomes.labels(event.stop_reason.value).inc()
                self.tokens_out.inc(event.tokens_out)
                if event.tokens_out:
                    self._ttft.observe(event.ttft_ms / 1000)
                    self._decode.observe(event.decode_ms / 1000)
            case Failure():
                self._outcomes.labels(event.code).inc()
            case _:
                self._outcomes.labels("internal").inc()


class _Engine(Collector):
    """What the thread that computes has spent: read when somebody asks, since it changes with every step."""

    def __init__(self, spent: Spent) -> None:
        self._spent = spent

    def collect(self) -> Iterator[Metric]:
        seconds = CounterMetricFamily(
            "rbee_worker_engine_seconds",
            "Time of the thread that computes: in llama.cpp, drawing tokens, and all else.",
            labels=["part"],
        )
        spent = self._spent
        for part, value in (("compute", spent.compute_s), ("draw", spent.draw_s), ("rest", spent.rest_s)):
            seconds.add_metric([part], value)
        yield seconds
        yield CounterMetricFamily(
            "rbee_worker_steps",
            "Computations; each is a token of every answer, or a chunk of a prompt.",
            value=spent.steps,
        )
