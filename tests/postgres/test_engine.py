"""What only PostgreSQL promises: that one queen reigns, and that a lost connection loses and doubles nothing."""

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from rbee.errors import ConfigInvalid, NoCapacity, RbeeError
from rbee.queen.store import events, jobs, postgres
from rbee.queen.store.models import execute
from rbee.queen.store.postgres import Postgres
from rbee.queen.store.store import Store
from rbee.wire.jobs import JobQuery
from tests.support.cable import Cable, cable
from tests.support.postgres import Server
from tests.unit.queen.store.promises import QUEUED, new, opened

QUEEN = """
import sys
from rbee.queen.store.postgres import Postgres
from rbee.queen.store.store import Store

database = Postgres(sys.argv[1], address="http://mac:8080")
if "wait" in sys.argv:
    database.waits = lambda why: print("waits:", why.message, flush=True)
store = Store(database)
print("reigns", flush=True)
sys.stdin.read()
store.close()
"""


class Other:
    """Another queen's store, in a process of its own."""

    def __init__(self, where: str, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", QUEEN, where, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def said(self) -> str:
        """Return the next thing it says."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@contextlib.contextmanager
def other(where: str, *words: str) -> Iterator[Other]:
    made = Other(where, *words)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()


@pytest.fixture
def cord(cluster: Server) -> Iterator[Cable]:
    with cable(cluster.port) as made:
        yield made


def through(cord: Cable, where: str) -> str:
    return re.sub(r":\d+/", f":{cord.port}/", where)


async def healed(ask: Callable[[], Awaitable[None]]) -> None:
    """Ask until the answer is no longer that the database is away; what is waited for tells nobody."""
    until_s = time.monotonic() + 20
    while True:
        try:
            return await ask()
        except NoCapacity:
            assert time.monotonic() < until_s


async def backends(store: Store) -> int:
    """Return the pid of the session that the store writes in."""

    def pid() -> int:
        return int(execute("SELECT pg_backend_pid()").fetchone()[0])

    return await store.write(pid)


def test_one_that_does_not_wait_is_refused_and_says_who_reigns(where: str) -> None:
    with other(where) as reigning:
        assert reigning.said() == "reigns"
        with pytest.raises(RbeeError, match="this queen stands by: http://mac:8080 reigns") as refused:
            opened(where)
    assert (refused.value.code, refused.value.details["active"]) == ("standby", "http://mac:8080")


async def test_one_that_waits_reigns_when_the_other_has_gone(where: str) -> None:
    store = opened(where)
    await store.write_durably(jobs.submit, new(), QUEUED)
    with other(where, "wait") as waiting:
        assert waiting.said().startswith("waits: this queen stands by")
        store.close()
        assert waiting.said() == "reigns"


async def test_the_next_one_reigns_at_once_when_the_first_is_killed(where: str) -> None:
    with other(where) as first:
        assert first.said() == "reigns"
        with other(where, "wait") as second:
            assert second.said() == "waits: this queen stands by: http://mac:8080 reigns"
            first.process.kill()
            began_s = time.monotonic()
            assert second.said() == "reigns"
            assert time.monotonic() - began_s < 8


async def test_who_lost_her_session_to_another_queen_writes_nothing_more(cluster: Server, where: str) -> None:
    store = opened(where)
    await store.write_durably(jobs.submit, new(), QUEUED)
    with other(where, "wait") as waiting:
        assert waiting.said().startswith("waits")
        cluster.sql(f"SELECT pg_terminate_backend({await backends(store)})")
        assert waiting.said() == "reigns"
        for _ in range(2):
            with pytest.raises(NoCapacity):
                await store.write_durably(jobs.submit, new("job-2"), QUEUED)
        assert store.deposed() is not None
        assert "another queen reigns" in str(store.deposed())
        assert [each.id for each in await store.read(jobs.search, JobQuery(), None)] == ["job-1"]
    store.close()


async def test_a_server_that_restarts_is_waited_for(cluster: Server, where: str) -> None:
    store = opened(where)
    await store.write_durably(jobs.submit, new(), QUEUED)
    cluster.stop("immediate")
    try:
        for _ in range(2):
            with pytest.raises(NoCapacity, match="the queen's database .* cannot be used") as away:
                await store.write_durably(jobs.submit, new("job-2"), QUEUED)
        assert away.value.hint.startswith("pg_isready --dbname=postgresql://")
        assert store.trouble() is not None
    finally:
        cluster.start()
    await healed(store.touch)
    assert (store.trouble(), store.deposed()) == (None, None)
    assert (await store.write_durably(jobs.submit, new("job-2"), QUEUED)).fresh
    assert len(await store.read(jobs.search, JobQuery(), None)) == 2
    store.close()


async def test_a_session_that_the_server_still_has_is_ended_for_the_new_one(cord: Cable, where: str) -> None:
    """Our end of the cable is cut, and the server has not noticed: the lock is ours and yet not to be had."""
    store = opened(through(cord, where))
    before = await backends(store)
    cord.cut()
    await healed(store.touch)
    assert store.deposed() is None
    assert await backends(store) != before
    store.close()


async def test_a_commit_whose_answer_was_lost_is_known_to_have_happened(cord: Cable, where: str) -> None:
    store = opened(through(cord, where))
    cord.lose_answer = b"COMMIT\0"
    stored = await store.write_durably(jobs.submit, new(), QUEUED)
    assert cord.cuts == 1
    assert stored.fresh
    assert await store.read(events.page, stored.seq, 0) == (QUEUED,)
    store.close()


async def test_a_commit_that_never_arrived_is_known_not_to_have_happened(
    cord: Cable, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(
        where
    ).close()  # its migrations are commits as well, and the sixth of a connection has another name on the wire
    store = opened(through(cord, where))
    asked: list[bool] = []
    happened = Postgres._happened
    monkeypatch.setattr(Postgres, "_happened", lambda self, number: asked.append(happened(self, number)) or asked[-1])
    cord.lose_question = b"COMMIT"
    with pytest.raises(NoCapacity):
        await store.write_durably(jobs.submit, new(), QUEUED)
    assert (cord.cuts, asked) == (1, [False])
    assert (await store.write_durably(jobs.submit, new(), QUEUED)).fresh
    store.close()


async def test_who_cannot_reach_the_server_for_long_gives_up(
    cluster: Server, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "FENCE_S", 0.0)
    store = opened(where)
    cluster.stop("immediate")
    try:
        with pytest.raises(NoCapacity):
            await store.touch()
        assert "could not be reached for" in str(store.deposed())
    finally:
        cluster.start()
    store.close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("//rbee@", "//locked@"), "fe_sendauth: no password supplied"),
        (("//rbee@", "//nobody_there@"), 'role "nobody_there" does not exist'),
        (("/rbee_", "/not_"), "does not exist"),
    ],
)
def test_what_no_waiting_will_change_is_a_wrong_setting(where: str, change: tuple[str, str], said: str) -> None:
    database = Postgres(where.replace(*change))
    database.waits = lambda _: None
    with pytest.raises(ConfigInvalid, match=re.escape(said)):
        Store(database)


async def test_a_password_comes_from_its_file(cluster: Server, where: str, tmp_path: Path) -> None:
    cluster.sql(f"ALTER DATABASE {where.rpartition('/')[2]} OWNER TO locked")
    locked = where.replace("//rbee@", "//locked@")
    with pytest.raises(ConfigInvalid, match="password authentication failed"):
        Store(Postgres(locked, password="guessed"))
    store = Store(Postgres(locked, password="open sesame"))
    assert (await store.write_durably(jobs.submit, new(), QUEUED)).fresh
    store.close()
