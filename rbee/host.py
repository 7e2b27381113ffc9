"""This host as a pool: settings and adapters put together, once, for pool-managerd and for direct commands."""

import contextlib
import dataclasses
import hashlib
import hmac
import ipaddress
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from rbee import __version__, config, log
from rbee.adapters import host as host_facts
from rbee.adapters import llama_builds, places
from rbee.adapters.drain_flag import FileDrainFlag
from rbee.adapters.git_checkout import GitCheckout
from rbee.adapters.gpus import GpuProbe
from rbee.adapters.ledger_book import FileLedgerBook
from rbee.adapters.model_store import open_store
from rbee.adapters.turn import FileTurn
from rbee.adapters.units import open_units
from rbee.client.http import HttpClient
from rbee.client.neighbours import QueensNeighbours
from rbee.client.worker import HttpWorkerControl
from rbee.config import Settings
from rbee.errors import ConfigInvalid
from rbee.pool_core import catalog
from rbee.pool_core.condition import Condition
from rbee.pool_core.declared import Declaration
from rbee.pool_core.ports import PoolFacts, UnitLimits
from rbee.pool_core.service import PoolService
from rbee.pool_core.unit import Place

MACHINE_ID = Path("/etc/machine-id")
_APPLICATION = b"rbee pool instance"


def open_pool(
    settings: Settings, environ: Mapping[str, str], *, url: str = "", condition: Condition | None = None
) -> PoolService:
    """Return this host's pool.

    Args:
        url: where the daemon listens; empty where there is none.
        condition: what the daemon knows of its host.

    Raises:
        ConfigInvalid: a setting names something that is not there, such as the worker program.
    """
    state, mode = config.state_dir(environ), places.mode(settings)
    models_dir = Path(settings.pool.models_dir) if settings.pool.models_dir else state / "models"
    roots = [Path(root) for root in settings.pool.model_roots]
    lib = llama_builds.lib_folder(settings.worker.llama_lib, environ)
    neighbours = QueensNeighbours(
        queen=settings.pool.queen, own_id=config.pool_id(settings), connect=_connector(settings, environ)
    )
    units = open_units(settings, environ)
    store = open_store(models_dir, roots, catalog.merged(settings.models), neighbours=neighbours)
    return PoolService(
        dataclasses.replace(
            pool_facts(settings, url or f"http://{settings.pool.bind}"),
            program=units.place.program,
            limits=_limits(units.place),
        ),
        units=units,
        models=store,
        gpus=GpuProbe(lib=lib, mode=mode),
        host=host_facts.HostProbe(models_dir, slices=places.workers_group(mode), cache_dir=Path(units.place.cache)),
        book=FileLedgerBook(state),
        control=HttpWorkerControl(),
        flag=FileDrainFlag(state),
        checkout=GitCheckout(Path(settings.pool.repo) if settings.pool.repo else None),
        turn=FileTurn(state),
        now_ms=now_ms,
        condition=condition,
        declaration=declaration(settings),
        real=os.path.realpath,
        warn=log.warning,
    )


def declaration(settings: Settings) -> Declaration:
    """Return what rbee.toml wants to be on this host."""
    fetched = tuple(alias for alias, model in settings.models.items() if model.fetch)
    return Declaration(models=fetched, workers=settings.workers)


def _limits(place: Place) -> UnitLimits:
    """Return what units are told now beside their command line."""
    return UnitLimits(
        load_timeout_s=place.load_timeout_s,
        stop_grace_s=place.stop_grace_s,
        watchdog_s=place.watchdog_s,
        llama_lib=place.llama_lib,
    )


def now_ms() -> int:
    """Return the wall clock, in milliseconds since the epoch."""
    return int(time.time() * 1000)


def _connector(settings: Settings, environ: Mapping[str, str]) -> Callable[[str, str], HttpClient]:
    """Return what connects to queen and pools; the token is read then, and one that is not ours is none."""

    def connect(url: str, source: str) -> HttpClient:
        tokens: tuple[str, ...] = ()
        with contextlib.suppress(ConfigInvalid):
            tokens = config.read_token(settings.pool.token_file, environ=environ)
        return HttpClient(url, token=tokens[0] if tokens else "", source=source, ca_file=settings.pool.tls_ca)

    return connect


def pool_facts(settings: Settings, url: str) -> PoolFacts:
    """Return what the pool's logic needs to know of its settings.

    Workers listen on the host that the pool itself is reached at.
    """
    low, high = settings.pool.port_range
    url = settings.pool.url or url
    return PoolFacts(
        id=config.pool_id(settings),
        instance=instance_id(MACHINE_ID),
        url=url,
        version=__version__,
        worker_host=worker_host(url),
        ports=range(low, high + 1),
        ctx=settings.worker.ctx,
        slots=settings.worker.slots,
        idle_s=settings.worker.idle_s,
        threads=settings.worker.threads,
        load_timeout_s=settings.worker.load_timeout_s,
        gpu_limit_c=settings.pool.gpu_limit_c,
        kv=settings.worker.kv,
        keep=settings.worker.keep,
        usual=settings.models,
    )


def worker_host(url: str) -> str:
    """Return the IP address that a pool reached at ``url`` lets its workers listen on.

    Raises:
        ConfigInvalid: nobody could connect to it: 0.0.0.0, or a name that does not resolve here.
    """
    name = urlsplit(url).hostname or ""
    try:
        found = str(socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise ConfigInvalid(f"pool.url is {url}, and {name!r} does not resolve here: {error}") from None
    if ipaddress.ip_address(found).is_unspecified:
        raise ConfigInvalid(
            f"this pool listens on every address, and {url} is none that others reach it at",
            hint='set [pool] url, for example url = "http://workstation.home.arpa:9200"',
        )
    return found


def instance_id(machine_id: Path) -> str:
    """Return an id of this installation that tells nobody its machine id (machine-id(5) asks for that).

    A host without one has the hash of its name, which is as good as its name.
    """
    try:
        key = machine_id.read_text(encoding="ascii").strip().encode()
    except OSError:
        key = b"no machine id"
    return hmac.new(key, _APPLICATION, hashlib.sha256).hexdigest()[:32]
