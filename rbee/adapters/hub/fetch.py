"""One model from the hub or another pool onto disk: every part whole, hashed and checked before it has its name."""

import asyncio
import contextlib
import errno
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rbee import log
from rbee.adapters.hub.partial import Partial, partial_of, writing
from rbee.adapters.model_files import inspect
from rbee.adapters.threads import in_thread, sha256_of
from rbee.errors import ChecksumMismatch, DownloadFailed, InsufficientDisk, InvalidRequest
from rbee.pool_core.ports import RemoteFile, Source
from rbee.pool_core.progress import EVERY_S, Progress
from rbee.wire import codec
from rbee.wire.catalog import DownloadEvent

Tell = Callable[[DownloadEvent], None]
TRIES = 6
FIRST_PAUSE_S = 0.1
_PROGRESS_BYTES = 1 << 20
_WRITE_BYTES = 1 << 20
_ROUNDS = 2  # a wrong sum once may be a bad transfer; twice, the hub and its bytes disagree


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the hub and where it is to lie."""

    file: RemoteFile
    target: Path

    @property
    def here_bytes(self) -> int:
        """Return how much of it is on this disk already."""
        for path in (self.target, partial_of(self.target)):
            with contextlib.suppress(OSError):
                return min(path.stat().st_size, self.file.size_bytes)
        return 0


class Fetch:
    """Fetches ``parts`` from ``source``. Cancelling leaves partial files that the next one goes on with."""

    def __init__(self, source: Source, parts: Sequence[Part], tell: Tell, *, doing: str = "downloading") -> None:
        self._source, self._doing = source, doing
        self._parts = parts
        self._tell = tell
        self._before_bytes = 0
        self._state, self._done_bytes = doing, sum(part.here_bytes for part in parts)
        self._progress = Progress(sum(part.file.size_bytes for part in parts))

    async def run(self) -> tuple[str, ...]:
        """Return the parts' sums.

        Raises:
            InsufficientDisk: before the first byte, or when the disk filled up on the way.
            DownloadFailed: the hub stayed away, or stalled, through six tries.
            ChecksumMismatch: the bytes are not those that the hub, or the configuration, promises.
            InvalidRequest: they are, but they are no model.
        """
        check_disk(self._parts)
        ticking = asyncio.create_task(self._tick())
        try:
            sums = []
            for part in self._parts:
                sums.append(await self._part(part))
                self._before_bytes += part.file.size_bytes
            return tuple(sums)
        finally:
            ticking.cancel()

    async def _tick(self) -> None:
        """Tell four times a second, whether bytes come or not."""
        while True:
            self._tell(self._progress.event(self._state, self._done_bytes, time.monotonic()))
            await asyncio.sleep(EVERY_S)

    async def _part(self, part: Part) -> str:
        async with writing(part.target, self._saw(self._doing)) as partial:
            if await self._is_here(part):
                await in_thread(partial.discard)
                return part.file.sha256
            with _disk_full(part, partial):
                await self._resume(partial, part.file)
                await self._rounds(partial, part.file)
                await in_thread(_check_model, partial)
                await in_thread(partial.finish)
            return partial.sha256

    async def _is_here(self, part: Part) -> bool:
        """Say whether the file came while we waited, or lies there from before a crash."""
        if not await in_thread(_has_size, part.target, part.file.size_bytes):
            return False
        return await sha256_of(part.target, self._saw("verifying")) == part.file.sha256

    async def _resume(self, partial: Partial, file: RemoteFile) -> None:
        if await in_thread(partial.begin, _identity(file)):
            while await in_thread(partial.hash_more):
                self._saw("verifying")(partial.size_bytes)
            log.event("download.resumed", repo=file.repo, file=file.path, offset_bytes=partial.size_bytes)

    async def _rounds(self, partial: Partial, file: RemoteFile) -> None:
        for _ in range(_ROUNDS):
            await self._pull_all(partial, file)
            if partial.sha256 == (file.sha256 or partial.sha256) and partial.size_bytes == file.size_bytes:
                return
            found, size_bytes = partial.sha256, partial.size_bytes
            await in_thread(partial.restart)
            log.warning("download.checksum_differed", repo=file.repo, file=file.path, sha256=found)
        await in_thread(partial.discard)
        raise ChecksumMismatch(
            f"{file.path} of {file.repo} has sha256 {found}, expected {file.sha256}",
            hint="the hub's copy is damaged, or the sha256 in [models.*] is of another file",
            details={"sha256": found, "expected_sha256": file.sha256, "size_bytes": size_bytes},
        )

    async def _pull_all(self, partial: Partial, file: RemoteFile) -> None:
        """Read to the end. Six tries; one that brought a mebibyte starts the count anew."""
        tries = 0
        while partial.size_bytes < file.size_bytes:
            had_bytes = partial.size_bytes
            try:
                await self._pull(partial, file)
            except DownloadFailed as error:
                tries = 1 if partial.size_bytes - had_bytes >= _PROGRESS_BYTES else tries + 1
                log.warning(
                    "download.interrupted",
                    file=file.path,
                    tries=tries,
                    had_bytes=partial.size_bytes,
                    error=error.message,
                )
                if tries >= TRIES:
                    raise _given_up(error, partial, file) from error
                await asyncio.sleep(FIRST_PAUSE_S * 2 ** (tries - 1) * random.uniform(0.5, 1.5))  # noqa: S311

    async def _pull(self, partial: Partial, file: RemoteFile) -> None:
        saw = self._saw(self._doing)
        async with self._source.read(file, partial.size_bytes) as body:
            if body.start != partial.size_bytes:
                await in_thread(partial.restart)
            saw(partial.size_bytes)
            held = bytearray()
            try:
                async for piece in body.pieces:
                    if partial.size_bytes + len(held) + len(piece) > file.size_bytes:
                        raise DownloadFailed(
                            f"{self._source.name} sends more than {file.size_bytes} bytes of {file.path}"
                        )
                    held += piece
                    if len(held) >= _WRITE_BYTES:
                        data, held = bytes(held), bytearray()
                        await in_thread(partial.append, data)
                    saw(partial.size_bytes + len(held))
            finally:
                await in_thread(partial.append, bytes(held))
        if partial.size_bytes < file.size_bytes:
            raise DownloadFailed(
                f"{self._source.name} sent {partial.size_bytes} bytes of {file.path}, expected {file.size_bytes}"
            )

    def _saw(self, state: str) -> Callable[[int], None]:
        """Return what to call with the bytes of the part in hand."""

        def saw(part_bytes: int) -> None:
            self._state, self._done_bytes = state, self._before_bytes + part_bytes

        return saw


def check_disk(parts: Sequence[Part]) -> None:
    """Raise InsufficientDisk when what is still to come does not fit; bytes that are here count."""
    needed = sum(part.file.size_bytes - part.here_bytes for part in parts)
    folder = next(path for path in parts[0].target.parents if path.exists())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise _no_room(folder, needed, free)


@contextlib.contextmanager
def _disk_full(part: Part, partial: Partial) -> Iterator[None]:
    """Turn a full disk into InsufficientDisk, and give back what we took of it."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        had_bytes = partial.size_bytes
        partial.discard()
        free = shutil.disk_usage(part.target.parent).free
        raise _no_room(part.target.parent, part.file.size_bytes, free, had_bytes=had_bytes) from None


def _no_room(folder: Path, needed: int, free: int, **details: int) -> InsufficientDisk:
    return InsufficientDisk(
        f"{folder} has {free} bytes free, {needed} are needed",
        hint="rbee-hive models list; rbee-hive models delete one",
        details={"needed_bytes": needed, "free_bytes": free, **details},
    )


def _given_up(error: DownloadFailed, partial: Partial, file: RemoteFile) -> DownloadFailed:
    return DownloadFailed(
        f"{error.message}; gave up after {TRIES} tries",
        hint="download it again: it goes on from there",
        details={"bytes_done": partial.size_bytes, "bytes_total": file.size_bytes, "tries": TRIES},
    )


def _check_model(partial: Partial) -> None:
    """Read the head before the file gets its name; bytes that are no model go."""
    try:
        inspect(partial.path)
    except InvalidRequest as error:
        partial.discard()
        raise InvalidRequest(
            f"{partial.target.name}: {error.message}", hint="choose another file", details=error.details
        ) from None


def _has_size(path: Path, size_bytes: int) -> bool:
    return path.is_file() and path.stat().st_size == size_bytes


def _identity(file: RemoteFile) -> str:
    """Return what the partial's state file holds: the same text, the same bytes, whatever branch they are on."""
    origin = {} if file.sha256 else {"repo": file.repo, "commit": file.commit, "file": file.path}
    return codec.dump_json({"sha256": file.sha256, "size_bytes": file.size_bytes, **origin})
