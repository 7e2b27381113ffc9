"""All that rbee.toml may say, checked.

``etc/rbee.toml`` shows every key; a test compares it with these classes.
"""

import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rbee.config.workers import worker_problems
from rbee.errors import InvalidRequest
from rbee.pool_core.catalog import parts_of
from rbee.pool_core.usual import Usual
from rbee.wire.fields import NAME, items, name, number, plain, text
from rbee.wire.workers import WorkerShape

_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_URL = re.compile(r"https?://[^\s/]+(/\S*)?")
_QUEENS = re.compile(r"https?://[^\s/,]+(/[^\s,]*)?(,\s*https?://[^\s/,]+(/[^\s,]*)?)*")
_BIND = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):\d{1,5}")
_POLICY = re.compile(r"reject|drop-lru")
_STRATEGY = re.compile(r"least-loaded|most-vram-free|round-robin")
_KV = re.compile(r"f16|q8_0")
_MODE = re.compile(r"auto|system|user")
_PORTS = re.compile(r"\d{1,5}-\d{1,5}")
_REPO = re.compile(r"[\w.-]+/[\w.-]+")
_DIGEST = re.compile(r"|[0-9a-f]{64}")
DAY_S = 86_400


def _address(default: str, doc: str) -> Any:
    return text(longest=255, pattern=_BIND, like="host:port", default=default, doc=doc)


def _url(default: str, doc: str) -> Any:
    return text(longest=300, pattern=_URL, like="http://host:port", default=default, doc=doc)


def _queens(doc: str) -> Any:
    like = "http://host:port, or several with commas between"
    return text(longest=1000, pattern=_QUEENS, like=like, default="http://127.0.0.1:8080", doc=doc)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queen:
    bind: str = _address("127.0.0.1:8080", "where queen-rbee listens by itself")
    url: str = text(longest=300, default="", doc="how others reach her; empty: where she listens")
    database: str = text(
        longest=4096, default="", doc="SQLite file, or postgresql://…; empty: queen.sqlite in the state directory"
    )
    database_password_file: str = text(longest=4096, default="", doc="password for PostgreSQL, a file of mode 0600")
    token_file: str = text(longest=4096, default="", doc="fleet token; wanted for any address but loopback")
    tls_cert: str = text(longest=4096, default="", doc="PEM of our certificate and chain; with tls_key: https")
    tls_key: str = text(longest=4096, default="", doc="PEM of its key, mode 0600")
    tls_ca: str = text(longest=4096, default="", doc="PEM of who signed the other side; empty: the system's list")
    pools: tuple[str, ...] = items(
        longest=100, default=("http://127.0.0.1:9200",), doc="pools to wake while none is known"
    )
    queue_capacity: int = number(low=-1, high=1_000_000, default=100, unit="jobs", doc="-1: unbounded")
    queue_policy: str = text(longest=8, pattern=_POLICY, like="reject or drop-lru", default="reject")
    promote_after_s: float = number(
        low=0, high=DAY_S, default=300.0, unit="s", doc="a batch job that has waited so long counts as interactive"
    )
    strategy: str = text(
        longest=20, pattern=_STRATEGY, like="least-loaded, most-vram-free or round-robin", default="least-loaded"
    )
    policy: str = text(longest=4096, default="", doc="a Starlark script that decides; empty: the built-in")
    record: str = text(longest=4096, default="", doc="file that each decision is appended to; empty: none")
    lost_after: int = number(low=1, high=100, default=3, unit="heartbeats")
    heartbeat_s: float = number(low=0.1, high=60, default=2.0, unit="s")
    job_limit_s: float = number(low=1, high=DAY_S, default=300.0, unit="s")
    job_limit_max_s: float = number(low=1, high=DAY_S, default=1800.0, unit="s")
    retain_jobs_s: float = number(low=0, high=3650 * DAY_S, default=7.0 * DAY_S, unit="s")
    retain_text_s: float = number(low=0, high=3650 * DAY_S, default=1.0 * DAY_S, unit="s", doc="0: keep none")
    body_limit_bytes: int = number(low=1024, high=1 << 30, default=8 << 20, unit="bytes")
    connections: int = number(low=1, high=100_000, default=64, doc="requests at once from one caller")
    cors_origins: tuple[str, ...] = items(longest=100, default=())
    callers: Mapping[str, str] = plain({}, doc='named caller keys: name = "sha256:…"')

    def problems(self) -> typing.Iterator[tuple[str, str]]:
        for caller, digest in self.callers.items():
            if not NAME.fullmatch(caller) or not _SHA256.fullmatch(digest):
                yield f"callers.{caller}", 'expected name = "sha256:<64 hex digits>"'
        for n, url in enumerate(self.pools):
            if not _URL.fullmatch(url):
                yield f"pools[{n}]", f"is {url!r}, expected http://host:port"
        yield from _database_problems(self.database)
        if self.job_limit_s > self.job_limit_max_s:
            yield "job_limit_s", f"is {self.job_limit_s:g}, expected at most job_limit_max_s, {self.job_limit_max_s:g}"


def _database_problems(database: str) -> typing.Iterator[tuple[str, str]]:
    kind, scheme, rest = database.partition("://")
    if not scheme:
        return
    if kind != "postgresql":
        yield "database", f"is {kind}://…, expected the path of an SQLite file, or postgresql://…"
    elif ":" in rest.partition("/")[0].rpartition("@")[0] or "password=" in rest:
        yield "database", "holds a password, which belongs into a file: database_password_file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    id: str | None = name(default=None, doc="absent: the host's name")
    bind: str = _address("127.0.0.1:9200", "where pool-managerd listens by itself")
    url: str = text(longest=300, default="", doc="how the queen reaches it; empty: http://<bind>")
    queen: str = _queens("whom to send heartbeats: of several whoever reigns")
    token_file: str = text(longest=4096, default="")
    tls_cert: str = text(longest=4096, default="", doc="PEM of our certificate and chain; with tls_key: https")
    tls_key: str = text(longest=4096, default="", doc="PEM of its key, mode 0600")
    tls_ca: str = text(longest=4096, default="", doc="PEM of who signed the other side; empty: the system's list")
    mode: str = text(longest=8, pattern=_MODE, like="system, user or auto", default="auto", doc="which systemd manager")
    models_dir: str = text(longest=4096, default="", doc="empty: models in the state directory")
    model_roots: tuple[str, ...] = items(longest=100, default=(), doc="more folders models may lie in")
    repo: str = text(longest=4096, default="", doc="a git checkout on this host, for rbee-hive git")
    worker_ports: str = text(longest=11, pattern=_PORTS, like="low-high", default="8001-8999")
    gpu_limit_c: int = number(low=0, high=150, default=0, unit="degrees", doc="no new worker on a hotter GPU; 0: any")
    heartbeat_s: float = number(low=0.1, high=60, default=2.0, unit="s")
    connections: int = number(low=1, high=100_000, default=64, doc="requests at once from one caller")
    body_limit_bytes: int = number(low=1024, high=1 << 30, default=8 << 20, unit="bytes")

    def problems(self) -> typing.Iterator[tuple[str, str]]:
        low, high = self.port_range
        if not 1 <= low <= high <= 65_535:
            yield "worker_ports", f"is {self.worker_ports}, expected low-high within 1..65535"
        for n, root in enumerate((self.models_dir, *self.model_roots)):
            if root and not root.startswith("/"):
                yield "models_dir" if n == 0 else f"model_roots[{n - 1}]", f"is {root!r}, expected an absolute path"
        if self.repo and not self.repo.startswith("/"):
            yield "repo", f"is {self.repo!r}, expected an absolute path"

    @property
    def port_range(self) -> tuple[int, int]:
        low, _, high = self.worker_ports.partition("-")
        return int(low), int(high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    exec: str = text(longest=4096, default="", doc="path of llm-worker-rbee; empty: beside the caller, or on PATH")
    ctx: int = number(low=64, high=1 << 20, default=4096, unit="tokens a slot", doc="or the model's own, if less")
    slots: int = number(low=1, high=64, default=1)
    kv: str = text(longest=4, pattern=_KV, like="f16 or q8_0", default="f16", doc="of the cache, where the model can")
    keep: bool = plain(False, doc="conversations outlive a worker's sleep, on disk")
    llama_lib: str = text(longest=4096, default="", doc="folder of another libllama.so; empty: the package's own")
    threads: int = number(low=0, high=1024, default=0, doc="for all slots; 0: one per core, at most 8 a slot")
    idle_s: int = number(low=1, high=30 * DAY_S, default=300, unit="s")
    load_timeout_s: float = number(low=1, high=DAY_S, default=300.0, unit="s")
    stop_grace_s: float = number(low=1, high=3600, default=30.0, unit="s")
    watchdog_s: float = number(low=1, high=3600, default=60.0, unit="s", doc="a decode step may not take longer")

    def problems(self) -> typing.Iterator[tuple[str, str]]:
        if self.llama_lib and not self.llama_lib.startswith("/"):
            yield "llama_lib", f"is {self.llama_lib!r}, expected an absolute path"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hive:
    pool: str = _url("http://127.0.0.1:9200", "the local pool-managerd")
    token_file: str = text(longest=4096, default="")
    tls_ca: str = text(longest=4096, default="", doc="PEM of who signed the other side; empty: the system's list")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeper:
    queen: str = _queens("the queen: of several whoever reigns")
    token_file: str = text(longest=4096, default="")
    tls_ca: str = text(longest=4096, default="", doc="PEM of who signed the other side; empty: the system's list")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model(Usual):
    """[models.<alias>]: on the hub, or a file of this host; and how workers of it are made."""

    repo: str = text(longest=200, shortest=3, pattern=_REPO, like="org/name", default="", doc="on the hub")
    file: str = text(longest=200, shortest=6, default="", doc="there: the .gguf; of a split model the first part")
    revision: str = text(longest=100, shortest=1, default="main")
    path: str = text(
        longest=4096, shortest=2, default="", doc="instead: a .gguf that lies on this host, of a split one the first"
    )
    sha256: str = text(longest=64, pattern=_DIGEST, like="64 hex digits", default="", doc="checked when given")
    fetch: bool = plain(False, doc="have it on this host: rbee-hive sync downloads it when it is missing")

    def problems(self) -> typing.Iterator[tuple[str, str]]:
        yield from Usual.problems(self)
        if self.path:
            yield from self._path_problems()
        elif not self.repo and not self.file:
            yield "repo", "is missing: expected repo and file, for a model of the hub, or path, for a file of this host"
        elif not self.repo or not self.file:
            there, missing = ("repo", "file") if self.repo else ("file", "repo")
            yield missing, f"is missing, expected beside {there}"

    def _path_problems(self) -> typing.Iterator[tuple[str, str]]:
        hub = {"repo": self.repo, "file": self.file, "revision": self.revision if self.revision != "main" else ""}
        for key in [key for key, value in hub.items() if value]:
            yield key, "does not go with path: a file of this host is never downloaded"
        if not self.path.startswith("/") or self.path.startswith("//") or not self.path.isprintable():
            yield "path", f"is {self.path!r}, expected an absolute path"
            return
        try:
            first = parts_of(self.path.rpartition("/")[2])[0]
        except InvalidRequest as error:
            yield "path", f"is {self.path!r}: {error.message}"
            return
        if not self.path.endswith(f"/{first}"):
            yield "path", f"is {self.path!r}, expected the first part of the model, {first}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """[hosts.<name>], for the keeper."""

    ssh: str = text(longest=255, default="", doc="what to give ssh; empty: the host's name")
    sudo: bool = plain(False, doc="run commands there through sudo -n; for who may not log in as root")
    pool: str = text(longest=300, default="", doc="its pool-managerd's URL, for --http")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of rbee.toml, checked. ``file`` is where it came from, empty when there was none."""

    queen: Queen = Queen()
    pool: Pool = Pool()
    worker: Worker = Worker()
    hive: Hive = Hive()
    keeper: Keeper = Keeper()
    models: Mapping[str, Model] = plain({})
    hosts: Mapping[str, Host] = plain({})
    workers: Mapping[str, WorkerShape] = plain({}, doc="workers that are kept up on this host, by their ids")
    file: str = ""

    def problems(self) -> typing.Iterator[tuple[str, str]]:
        yield from worker_problems(self.workers)
        for table, names in (("models", self.models), ("hosts", self.hosts)):
            for key in names:
                if (table, key) == ("hosts", "all"):
                    yield "hosts.all", "is what --host calls every host; name it otherwise"
                if table == "hosts" and self.hosts[key].ssh.startswith("-"):
                    yield f"hosts.{key}.ssh", f"is {self.hosts[key].ssh!r}, which ssh would take for an option"
                if not NAME.fullmatch(key):
                    yield f"{table}.{key}", f"has a name that does not match {NAME.pattern}"
