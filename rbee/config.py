"""The one reader of rbee.toml and of RBEE_… variables: flag over environment over file over default.

``etc/rbee.toml`` shows every key; a test compares it with these classes.
"""

import dataclasses
import os
import re
import socket
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rbee.errors import ConfigInvalid, InvalidRequest
from rbee.wire import codec
from rbee.wire.fields import NAME, items, name, number, plain, text

T = TypeVar("T")
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_URL = re.compile(r"https?://[^\s/]+(/\S*)?")
_BIND = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):\d{1,5}")
_POLICY = re.compile(r"reject|drop-lru")
_STRATEGY = re.compile(r"least-loaded|most-vram-free|round-robin")
_MODE = re.compile(r"auto|system|user")
_PORTS = re.compile(r"\d{1,5}-\d{1,5}")
_REPO = re.compile(r"[\w.-]+/[\w.-]+")
_DIGEST = re.compile(r"|[0-9a-f]{64}")
DAY_S = 86_400
HANDED_ON = Path("/run/rbee")  # where ExecReload= of the units puts UNIT.token


def _address(default: str, doc: str) -> Any:
    return text(longest=255, pattern=_BIND, like="host:port", default=default, doc=doc)


def _url(default: str, doc: str) -> Any:
    return text(longest=300, pattern=_URL, like="http://host:port", default=default, doc=doc)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queen:
    bind: str = _address("127.0.0.1:8080", "where queen-rbee listens by itself")
    database: str = text(longest=4096, default="", doc="SQLite file; empty: queen.sqlite in the state directory")
    token_file: str = text(longest=4096, default="", doc="fleet token; wanted for any address but loopback")
    tls_cert: str = text(longest=4096, default="", doc="PEM of our certificate and chain; with tls_key: https")
    tls_key: str = text(longest=4096, default="", doc="PEM of its key, mode 0600")
    tls_ca: str = text(longest=4096, default="", doc="PEM of who signed the other side; empty: the system's list")
    pools: tuple[str, ...] = items(
        longest=100, default=("http://127.0.0.1:9200",), doc="pools to wake while none is known"
    )
    queue_capacity: int = number(low=-1, high=1_000_000, default=100, unit="jobs", doc="-1: unbounded")
    queue_policy: str = text(longest=8, pattern=_POLICY, like="reject or drop-lru", default="reject")
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
        if self.job_limit_s > self.job_limit_max_s:
            yield "job_limit_s", f"is {self.job_limit_s:g}, expected at most job_limit_max_s, {self.job_limit_max_s:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    id: str | None = name(default=None, doc="absent: the host's name")
    bind: str = _address("127.0.0.1:9200", "where pool-managerd listens by itself")
    url: str = text(longest=300, default="", doc="how the queen reaches it; empty: http://<bind>")
    queen: str = _url("http://127.0.0.1:8080", "whom to send heartbeats")
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
    threads: int = number(low=0, high=1024, default=0, doc="0: one per core, at most 8 a slot")
    idle_s: int = number(low=1, high=30 * DAY_S, default=300, unit="s")
    load_timeout_s: float = number(low=1, high=DAY_S, default=300.0, unit="s")
    stop_grace_s: float = number(low=1, high=3600, default=30.0, unit="s")
    watchdog_s: float = number(low=1, high=3600, default=60.0, unit="s", doc="a decode step may not take longer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hive:
    pool: str = _url("http://127.0.0.1:9200", "the local pool-managerd")
    token_file: str = text(longest=4096, default="")
    tls_ca: str = text(longest=4096, default="", doc="PEM of who signed the other side; empty: the system's list")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeper:
    queen: str = _url("http://127.0.0.1:8080", "the queen")
    token_file: str = text(longest=4096, default="")
    tls_ca: str = text(longest=4096, default="", doc="PEM of who signed the other side; empty: the system's list")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """[models.<alias>]"""

    repo: str = text(longest=200, shortest=3, pattern=_REPO, like="org/name", doc="on the hub")
    file: str = text(longest=200, shortest=6, doc="the .gguf; of a split model the first part")
    revision: str = text(longest=100, shortest=1, default="main")
    sha256: str = text(longest=64, pattern=_DIGEST, like="64 hex digits", default="", doc="checked when given")


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
    file: str = ""

    def problems(self) -> typing.Iterator[tuple[str, str]]:
        for table, names in (("models", self.models), ("hosts", self.hosts)):
            for key in names:
                if (table, key) == ("hosts", "all"):
                    yield "hosts.all", "is what --host calls every host; name it otherwise"
                if table == "hosts" and self.hosts[key].ssh.startswith("-"):
                    yield f"hosts.{key}.ssh", f"is {self.hosts[key].ssh!r}, which ssh would take for an option"
                if not NAME.fullmatch(key):
                    yield f"{table}.{key}", f"has a name that does not match {NAME.pattern}"


TABLES = ("queen", "pool", "worker", "hive", "keeper")


def load(path: str | None, environ: Mapping[str, str], **flags: Mapping[str, Any]) -> Settings:
    """Return the settings.

    Args:
        path: ``--config``; absent: RBEE_CONFIG, else the user's or the system's file if there is one.
        environ: RBEE_<TABLE>_<KEY> is read from it.
        flags: per table, what the command line says; None values are not said.

    Raises:
        ConfigInvalid: names each wrong key, its value and what was expected.
    """
    file = _find(path or environ.get("RBEE_CONFIG"), environ)
    data = _read(file) if file else {}
    origins: dict[str, str] = {}
    for table in TABLES:
        variables = _from_environ(table, environ)
        said = {key: value for key, value in flags.get(table, {}).items() if value is not None}
        origins |= {f"{table}.{key}": _variable(table, key) for key in variables.keys() - said.keys()}
        origins |= {f"{table}.{key}": "a flag" for key in said}
        merged = {**_table(data, table), **variables, **said}
        if merged:
            data[table] = merged
    try:
        settings = codec.from_dict(Settings, data)
    except InvalidRequest as error:
        raise _refused(error, str(file or "rbee.toml"), origins) from None
    return dataclasses.replace(settings, file=str(file or ""))


def _refused(error: InvalidRequest, file: str, origins: Mapping[str, str]) -> ConfigInvalid:
    """Return the error in the words of who has to mend it: each key under what sets it."""
    by_origin: dict[str, list[str]] = {}
    for each in error.details["fields"]:
        found = by_origin.setdefault(origins.get(each["field"], file), [])
        found.append(f"{each['field']}: {each['problem']}")
    sentence = "; ".join(f"{origin}: {'; '.join(found)}" for origin, found in by_origin.items())
    return ConfigInvalid(sentence, hint="etc/rbee.toml shows every key with its range", details=error.details)


def state_dir(environ: Mapping[str, str]) -> Path:
    """Return where this process keeps its state: systemd's STATE_DIRECTORY, /var/lib/rbee for root, else the user's."""
    given = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/lib/rbee")
    base = environ.get("XDG_DATA_HOME") or str(Path(environ.get("HOME", "/")) / ".local/share")
    return Path(base) / "rbee"


def pool_id(settings: Settings) -> str:
    """Return the configured pool id, else the host's short name made to fit."""
    if settings.pool.id:
        return settings.pool.id
    short = re.sub(r"[^a-z0-9._-]", "-", socket.gethostname().split(".")[0].lower())
    return short if NAME.fullmatch(short) else "localhost"


def read_token(path: str, *, environ: Mapping[str, str], credential: str = "token") -> tuple[str, ...]:
    """Return the accepted tokens: the first is presented, all are accepted (rotation). Empty when there is none.

    A systemd credential of that name wins over ``path``. systemd loads it at the start only; what ``systemctl reload``
    has handed on since wins over it. Where neither is given, the user's or the system's own token file is taken if
    there is one this process may read.

    Raises:
        ConfigInvalid: unreadable, readable by group or others, empty, or a token shorter than 16 characters.
    """
    directory = environ.get("CREDENTIALS_DIRECTORY")
    from_systemd = Path(directory) / credential if directory else None
    if from_systemd is not None and from_systemd.exists():
        handed_on = HANDED_ON / f"{from_systemd.parent.stem}.{credential}"
        if _newer(handed_on, from_systemd):
            return _tokens(handed_on)
        return _tokens(from_systemd) if from_systemd.stat().st_size else ()
    file = Path(path) if path else _first_readable(_beside_config("token", environ))
    if file is None:
        return ()
    try:
        mode = file.stat().st_mode & 0o777
    except OSError as error:
        raise ConfigInvalid(f"token file {file}: {error.strerror}", hint="rbee-keeper token new") from None
    if mode & 0o077:
        raise ConfigInvalid(f"token file {file} has mode {mode:04o}, expected 0600", hint=f"chmod 600 {file}")
    return _tokens(file)


def _newer(file: Path, than: Path) -> bool:
    try:
        return file.stat().st_mtime_ns > than.stat().st_mtime_ns
    except OSError:
        return False


def _beside_config(file_name: str, environ: Mapping[str, str]) -> list[Path]:
    """Return where a file of that name may lie: with the user's configuration, then with the system's."""
    found = [Path("/etc/rbee") / file_name]
    if os.geteuid() != 0 and environ.get("HOME"):
        base = environ.get("XDG_CONFIG_HOME") or str(Path(environ["HOME"]) / ".config")
        found.insert(0, Path(base) / "rbee" / file_name)
    return found


def _first_readable(files: list[Path]) -> Path | None:
    return next((file for file in files if os.access(file, os.R_OK)), None)


def _tokens(file: Path) -> tuple[str, ...]:
    try:
        lines = file.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"token file {file}: {error}") from None
    if not lines or any(len(line) < 16 for line in lines):
        raise ConfigInvalid(f"token file {file} holds no token, or one shorter than 16 characters")
    return tuple(lines)


def own_file(environ: Mapping[str, str]) -> Path:
    """Return where this person's rbee.toml would be made: the system's for root, else in their own configuration."""
    return _beside_config("rbee.toml", environ)[0]


def _find(path: str | None, environ: Mapping[str, str]) -> Path | None:
    if path:
        return Path(path)
    return next((file for file in _beside_config("rbee.toml", environ) if file.exists()), None)


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise ConfigInvalid(f"{file}: {error.strerror}", hint="name another with --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{file} is not TOML: {error}") from None


def _table(data: Mapping[str, Any], table: str) -> dict[str, Any]:
    found = data.get(table, {})
    if not isinstance(found, dict):
        raise ConfigInvalid(f"{table} is {found!r}, expected a table [{table}]")
    return found


def _from_environ(table: str, environ: Mapping[str, str]) -> dict[str, Any]:
    prefix = _variable(table, "")
    hints = typing.get_type_hints(
        {"queen": Queen, "pool": Pool, "worker": Worker, "hive": Hive, "keeper": Keeper}[table]
    )
    found: dict[str, Any] = {}
    for variable, value in environ.items():
        if variable.startswith(prefix):
            key = variable.removeprefix(prefix).lower()
            found[key] = _parsed(hints.get(key, str), value)
    return found


def _variable(table: str, key: str) -> str:
    return f"RBEE_{table}_{key}".upper()


def _parsed(hint: Any, value: str) -> Any:
    """Return ``value`` as the field's type where that is plain to see; else as it is, for the codec to refuse."""
    if typing.get_origin(hint) is tuple:
        return [part for part in value.split(",") if part]
    for kind in (int, float):
        if hint is kind:
            try:
                return kind(value)
            except ValueError:
                return value
    return value
