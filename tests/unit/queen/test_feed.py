"""Readers of a job that has just ended, when what it said is erased."""

from collections.abc import Sequence

import pytest

from rbee.errors import NotFound
from rbee.queen.feed import Feed
from rbee.queen.store.events import Entry


def entry(number: int, kind: str = "token") -> Entry:
    return Entry(number, kind, "{}")


async def test_one_who_lags_behind_is_told_that_what_he_reads_was_erased() -> None:
    pages: list[Sequence[Entry]] = [[entry(1, "queued"), entry(2, "started"), entry(3)], [entry(9, "end")]]

    async def page(after: int) -> Sequence[Entry]:
        return pages.pop(0)

    feed = Feed(9, page)
    feed.publish([entry(9, "end")], finished=True)
    read = []
    with pytest.raises(NotFound, match="erased while it was read"):
        async for each in feed.read(0):
            read.append(each.id)
    assert read == [1, 2, 3]
