"""Waiting for the disk, together."""

import asyncio
import threading

import pytest

from rbee.queen.store.syncs import Syncs


class Disk:
    """A FAKE disk: each sync waits to be let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = threading.Semaphore(0)
        self.began = threading.Semaphore(0)

    def sync(self) -> None:
        self.begun += 1
        self.began.release()
        self.go.acquire()


async def test_who_comes_while_it_syncs_waits_for_the_next_and_shares_it() -> None:
    disk = Disk()
    syncs = Syncs(disk.sync)
    first = asyncio.create_task(syncs.done())
    await asyncio.to_thread(disk.began.acquire)
    late = [asyncio.create_task(syncs.done()) for _ in range(5)]
    await asyncio.sleep(0)
    disk.go.release()
    await first
    assert not any(task.done() for task in late)
    disk.go.release()
    await asyncio.gather(*late)
    assert disk.begun == 2


async def test_one_who_goes_away_leaves_the_others_waiting() -> None:
    disk = Disk()
    syncs = Syncs(disk.sync)
    impatient, patient = asyncio.create_task(syncs.done()), asyncio.create_task(syncs.done())
    await asyncio.to_thread(disk.began.acquire)
    impatient.cancel()
    disk.go.release()
    await patient
    assert impatient.cancelled()


async def test_what_goes_wrong_is_told_to_all_and_the_next_one_tries_again() -> None:
    failures = [OSError("away")]

    def sync() -> None:
        if failures:
            raise failures.pop()

    syncs = Syncs(sync)
    told = await asyncio.gather(syncs.done(), syncs.done(), return_exceptions=True)
    assert [str(each) for each in told] == ["away", "away"]
    await syncs.done()
    with pytest.raises(IndexError):
        failures.pop()
