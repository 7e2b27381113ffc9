"""What Prometheus sees of the queen."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from rbee.wire.events import End, JobEvent, Started
from rbee.wire.jobs import JobState
from rbee.wire.pools import PoolState
from rbee.wire.workers import WorkerState

if TYPE_CHECKING:
    from rbee.queen.queen import Queen

_WAITS_S = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 1800)
_DECODES_S = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800)
_WRITES_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 1, 10)


@dataclass(frozen=True, slots=True)
class Metrics:
    registry: CollectorRegistry
    ended: Counter
    tokens: Counter
    wait_s: Histogram
    ttft_s: Histogram
    decode_s: Histogram
    write_s: Histogram

    @classmethod
    def make(cls) -> "Metrics":
        to = CollectorRegistry()
        return cls(
            registry=to,
            ended=Counter("rbee_jobs_ended", "Jobs that ended, by how.", ("state",), registry=to),
            tokens=Counter("rbee_tokens", "Tokens of ended jobs.", ("direction",), registry=to),
            wait_s=_seconds("rbee_job_wait_seconds", "From acceptance to the start at a worker.", _WAITS_S, to),
            ttft_s=_seconds("rbee_job_ttft_seconds", "From start to first token, at the worker.", _WAITS_S, to),
            decode_s=_seconds("rbee_job_decode_seconds", "From first token to last.", _DECODES_S, to),
            write_s=_seconds("rbee_db_write_seconds", "One commit of the writer thread.", _WRITES_S, to),
        )

    def watch(self, queen: "Queen") -> None:
        """Add what is read off the queen when somebody asks."""
        jobs = Gauge("rbee_jobs", "Unfinished jobs, by state.", ("state",), registry=self.registry)
        for state in JobState:
            if not state.finished:
                jobs.labels(state.value).set_function(partial(_jobs, queen, state))
        pools = Gauge("rbee_pools", "Pools, by state.", ("state",), registry=self.registry)
        for pool_state in PoolState:
            pools.labels(pool_state.value).set_function(partial(_pools, queen, pool_state))
        workers = Gauge("rbee_workers", "Workers of live pools, by state.", ("state",), registry=self.registry)
        for worker_state in WorkerState:
            workers.labels(worker_state.value).set_function(partial(_workers, queen, worker_state))
        depth = Gauge("rbee_queue_depth", "Jobs that wait.", registry=self.registry)
        depth.set_function(lambda: float(len(queen.jobs.queue)))
        faults = Gauge(
            "rbee_policy_faults", "Decisions the policy failed to make since it was read.", registry=self.registry
        )
        faults.set_function(lambda: float(queen.dispatcher.policy.faults))
        readers = Gauge("rbee_sse_readers", "Open event streams.", registry=self.registry)
        readers.set_function(lambda: float(queen.jobs.readers()))

    def event(self, event: JobEvent, waited_s: float) -> None:
        match event:
            case Started():
                self.wait_s.observe(max(0.0, waited_s))
            case End():
                self.tokens.labels("in").inc(event.tokens_in)
                self.tokens.labels("out").inc(event.tokens_out)
                self.ttft_s.observe(event.ttft_ms / 1000)
                self.decode_s.observe(event.decode_ms / 1000)


def _seconds(name: str, text: str, buckets: tuple[float, ...], to: CollectorRegistry) -> Histogram:
    return Histogram(name, text, buckets=buckets, registry=to)


def _jobs(queen: "Queen", state: JobState) -> float:
    return queen.jobs.counts()[state]


def _pools(queen: "Queen", state: PoolState) -> float:
    return sum(pool.state is state for pool in queen.pools.view())


def _workers(queen: "Queen", state: WorkerState) -> float:
    live = [pool for pool in queen.pools.view() if pool.state is not PoolState.LOST]
    return sum(worker.state is state for pool in live for worker in pool.workers)
