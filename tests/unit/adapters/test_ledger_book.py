"""What was measured outlives daemons, and never stands in the way."""

import asyncio
import json
from pathlib import Path

from rbee.adapters import ledger_book
from rbee.adapters.ledger_book import FileLedgerBook
from rbee.pool_core.ports import Measured

SEEN = {"abc cuda 4096x1": Measured(device_bytes=5, host_bytes=3, load_ms=1500)}


async def test_what_was_noted_is_known_to_the_next(tmp_path: Path) -> None:
    assert await FileLedgerBook(tmp_path).known() == {}
    await FileLedgerBook(tmp_path).note(SEEN)
    await FileLedgerBook(tmp_path).note({"def cpu 4096x1": Measured(host_bytes=1)})
    assert await FileLedgerBook(tmp_path).known() == SEEN | {"def cpu 4096x1": Measured(host_bytes=1)}


async def test_a_broken_book_is_an_empty_one_and_is_written_anew(tmp_path: Path) -> None:
    book = FileLedgerBook(tmp_path)
    for broken in ("{", "[1]", '{"abc": 7}', '{"abc": {"device_bytes": "lots"}}'):
        (tmp_path / "measured.json").write_text(broken)
        assert await book.known() == {}
    await book.note(SEEN)
    assert await book.known() == SEEN


async def test_the_oldest_are_forgotten(tmp_path: Path) -> None:
    book = FileLedgerBook(tmp_path)
    many = {f"kind-{n}": Measured(device_bytes=n) for n in range(ledger_book.MOST)}
    await book.note(many)
    await book.note(SEEN)
    kept = json.loads((tmp_path / "measured.json").read_text())
    assert len(kept) == ledger_book.MOST
    assert "kind-0" not in kept and "kind-1" in kept


async def test_a_folder_that_takes_no_file_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "measured.json").mkdir()
    book = FileLedgerBook(tmp_path)
    await book.note(SEEN)
    assert await book.known() == {}


async def test_two_who_promise_memory_do_it_one_after_the_other(tmp_path: Path) -> None:
    within = 0
    most = 0

    async def promise() -> None:
        nonlocal within, most
        async with FileLedgerBook(tmp_path).exclusive():
            within += 1
            most = max(most, within)
            await asyncio.sleep(0.01)
            within -= 1

    await asyncio.gather(*(promise() for _ in range(5)))
    assert most == 1
