"""A real PostgreSQL of Debian's package, on a loopback port and in a folder of its own."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.support.ports import kept_port

SETTINGS = ("fsync=off", "full_page_writes=off", "listen_addresses='127.0.0.1'", "logging_collector=off")
"""No test cuts the power of the machine it runs on."""


def programs() -> Path:
    """Return the folder of the newest server's programs; Debian keeps them off PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda each: int(each.parts[-3]))
    if not found:
        raise FileNotFoundError("no PostgreSQL server: apt-get install postgresql")
    return found[-1].parent


@dataclass
class Server:
    """A cluster that is up. It has a role ``rbee`` that needs no password from loopback, and ``locked`` that does."""

    folder: Path
    port: int
    bin: Path

    def start(self) -> None:
        self._run("pg_ctl", "start", "--wait", "-s", "-D", str(self.folder / "data"), "-l", str(self.folder / "log"))

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "stop", "-s", "-m", mode, "-D", str(self.folder / "data"))

    def create(self) -> str:
        """Make an empty database; return its URL."""
        name = f"rbee_{uuid4().hex[:12]}"
        self.sql(f"CREATE DATABASE {name} OWNER rbee")
        return f"postgresql://rbee@127.0.0.1:{self.port}/{name}"

    def sql(self, statement: str, url: str = "") -> str:
        """Run ``statement`` as the superuser, or as whoever ``url`` says; return what it printed."""
        where = url or f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        return self._run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement, where).strip()

    def _run(self, program: str, *arguments: str) -> str:
        return _as_owner([str(self.bin / program), *arguments], self.folder)


def _as_owner(command: Sequence[str], folder: Path) -> str:
    """Run ``command`` as the folder's owner: the server will not run as root."""
    owner = folder.stat().st_uid
    who: dict[str, Any] = {}
    if os.geteuid() == 0:
        who = {"user": owner, "group": folder.stat().st_gid, "extra_groups": []}
    done = subprocess.run(
        command, check=False, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, **who
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return str(done.stdout)


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """Make a cluster, and take it away."""
    folder = Path(tempfile.mkdtemp(prefix="rbee-postgres-"))
    with contextlib.ExitStack() as after:
        after.callback(shutil.rmtree, folder, ignore_errors=True)
        port = after.enter_context(kept_port())
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        made = Server(folder, port, programs())
        made._run("initdb", "-A", "trust", "-U", "postgres", "-N", "-E", "UTF8", "-D", str(folder / "data"))
        settings = "".join(f"{each}\n" for each in (*SETTINGS, f"port={port}", f"unix_socket_directories='{folder}'"))
        with (folder / "data/postgresql.conf").open("a") as file:
            file.write(settings)
        (folder / "data/pg_hba.conf").write_text(
            "local all all trust\nhost all locked 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
        )
        made.start()
        made.sql("CREATE ROLE rbee LOGIN")
        made.sql("CREATE ROLE locked LOGIN PASSWORD 'open sesame'")
        yield made
        made.stop("immediate")
