"""Downloads over a real huggingface_hub client from a loopback hub that fails in every way it is told to."""

import asyncio
import itertools
import json
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from rbee.adapters.hub import client, fetch
from rbee.adapters.model_store import open_store
from rbee.adapters.notify import bind_socket
from rbee.errors import (
    ChecksumMismatch,
    DownloadFailed,
    InsufficientDisk,
    InvalidRequest,
    ModelNotFound,
    NotPermitted,
    RbeeError,
    Unauthorized,
)
from rbee.pool_core.catalog import Catalog, Entry, HubReference
from rbee.wire.catalog import DownloadEvent
from tests.hub.app import create_hub
from tests.hub.faults import Faults
from tests.hub.plugin import LoopbackHub
from tests.rig.waiting import PATIENCE
from tests.support.serving import served
from tests.unit.adapters.downloading import CATALOG, REPO, all_events, downloaded, environ, left_in, sha256, store_at

BIG = 12  # layers; about 2 MB, so that a transfer has a middle


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of a few milliseconds between tries."""
    monkeypatch.setattr(fetch, "FIRST_PAUSE_S", 0.002)


async def test_it_works(hub: LoopbackHub, tmp_path: Path) -> None:
    source = hub.give(REPO)
    events = await all_events(store_at(tmp_path, hub.url))
    model = events[-1].model
    assert model is not None
    assert [event.state for event in events][-1] == "done"
    assert (events[-1].bytes_done, events[-1].bytes_total) == (source.stat().st_size,) * 2
    assert model.id == "tiny"
    assert model.reference == f"hf:{REPO}::file=tiny.gguf"
    assert model.revision == hub.commit(REPO)
    assert model.sha256 == sha256(source) == sha256(model.paths[0])
    assert model.verified_ms is not None
    assert (model.architecture, model.layers, model.context_tokens) == ("llama", 2, 512)
    assert left_in(tmp_path / "models") == {"tiny.json", "tiny/tiny.gguf"}


async def test_what_is_here_is_done_at_once_and_asks_nobody(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.give(REPO)
    first = await downloaded(store_at(tmp_path, hub.url))
    hub.asked.clear()
    for reference in ("tiny", "tiniest", first.reference, f"hf:{REPO}@{first.revision}::file=tiny.gguf"):
        assert await downloaded(store_at(tmp_path, hub.url), reference) == first
    assert hub.asked == []


async def test_a_cut_connection_is_resumed_where_it_was(hub: LoopbackHub, tmp_path: Path) -> None:
    source = hub.give(REPO, layers=BIG)
    hub.faults.set(cut_after_bytes=700_000, cuts=2)
    model = await downloaded(store_at(tmp_path, hub.url))
    assert sha256(model.paths[0]) == sha256(source)
    offsets = [asked.range for asked in hub.transfers()]
    assert offsets[0] == ""
    assert len(offsets) == 3
    assert [int(r.removeprefix("bytes=").removesuffix("-")) for r in offsets[1:]] == [655_360, 1_310_720]


async def test_a_killed_process_is_resumed_by_a_new_one(hub: LoopbackHub, tmp_path: Path) -> None:
    source = hub.give(REPO, layers=BIG)
    hub.faults.set(stall_after_bytes=1_400_000)
    argv = [sys.executable, "-m", "tests.unit.adapters.hub_download", str(tmp_path), hub.url, "tiny"]
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE, env=environ())
    partial = tmp_path / "models/tiny/tiny.gguf.partial"
    assert process.stdout is not None
    async for line in process.stdout:
        if line.startswith(b"downloading") and partial.exists() and partial.stat().st_size >= 1 << 20:
            break
    process.send_signal(signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL
    had_bytes = partial.stat().st_size
    assert not (tmp_path / "models/tiny/tiny.gguf").exists()
    hub.faults.set()
    hub.asked.clear()
    again = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE, env=environ())
    said, _ = await again.communicate()
    assert said.splitlines()[-1].startswith(b"done")
    assert [asked.range for asked in hub.transfers()] == [f"bytes={had_bytes}-"]
    assert sha256(tmp_path / "models/tiny/tiny.gguf") == sha256(source)
    assert left_in(tmp_path / "models") == {"tiny.json", "tiny/tiny.gguf"}


async def test_a_cancelled_download_leaves_a_partial_that_goes_on(hub: LoopbackHub, tmp_path: Path) -> None:
    source = hub.give(REPO, layers=BIG)
    hub.faults.set(stall_after_bytes=700_000)
    store = store_at(tmp_path, hub.url)
    partial = tmp_path / "models/tiny/tiny.gguf.partial"
    events = store.download("tiny")
    await _until(events, lambda event: event.bytes_done >= 600_000)
    await events.aclose()  # type: ignore[attr-defined]
    assert partial.stat().st_size == 655_360
    hub.faults.set()
    assert sha256((await downloaded(store)).paths[0]) == sha256(source)
    assert hub.transfers()[-1].range == "bytes=655360-"


async def test_a_stall_is_ended_and_tried_again(hub: LoopbackHub, tmp_path: Path) -> None:
    source = hub.give(REPO, layers=BIG)
    hub.faults.set(stall_after_bytes=700_000, stalls=1)
    model = await downloaded(store_at(tmp_path, hub.url, stall_s=1.0 * PATIENCE))
    assert sha256(model.paths[0]) == sha256(source)
    assert hub.transfers()[-1].range == "bytes=655360-"


async def test_a_hub_that_always_cuts_is_given_up_after_six_tries(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.give(REPO)
    hub.faults.set(cut_after_bytes=0)
    with pytest.raises(DownloadFailed, match="after 6 tries") as failed:
        await downloaded(store_at(tmp_path, hub.url))
    assert len(hub.transfers()) == 6
    assert failed.value.hint == "download it again: it goes on from there"
    assert "tiny/tiny.gguf" not in left_in(tmp_path / "models")


async def test_a_server_error_on_the_way_is_tried_again(hub: LoopbackHub, tmp_path: Path) -> None:
    source = hub.give(REPO)
    hub.faults.set(file_status=503, failures=2)
    assert (await downloaded(store_at(tmp_path, hub.url))).sha256 == sha256(source)
    assert len(hub.transfers()) == 3


async def test_a_hub_without_ranges_is_read_from_the_start(hub: LoopbackHub, tmp_path: Path) -> None:
    source = hub.give(REPO, layers=BIG)
    hub.faults.set(cut_after_bytes=700_000, cuts=1, ignore_range=True)
    assert sha256((await downloaded(store_at(tmp_path, hub.url))).paths[0]) == sha256(source)


async def test_a_byte_wrong_once_is_fetched_anew(hub: LoopbackHub, tmp_path: Path) -> None:
    source = hub.give(REPO)
    hub.faults.set(flip_byte_at=300_000, flips=1)
    assert sha256((await downloaded(store_at(tmp_path, hub.url))).paths[0]) == sha256(source)
    assert [asked.range for asked in hub.transfers()] == ["", ""]


@pytest.mark.parametrize("faults", [Faults(flip_byte_at=300_000), Faults(lie_about_sha256=True)])
async def test_bytes_that_stay_wrong_are_a_checksum_mismatch(hub: LoopbackHub, tmp_path: Path, faults: Faults) -> None:
    hub.give(REPO)
    hub.faults = faults
    with pytest.raises(ChecksumMismatch, match="expected [0-9a-f]{64}") as failed:
        await downloaded(store_at(tmp_path, hub.url))
    assert failed.value.details["sha256"] != failed.value.details["expected_sha256"]
    assert len(hub.transfers()) == 2
    assert left_in(tmp_path / "models") == set()


async def test_a_configured_sum_that_the_hub_contradicts_stops_before_the_first_byte(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    hub.give(REPO)
    catalog = Catalog([replace(CATALOG.entries[0], sha256="a" * 64)])
    with pytest.raises(ChecksumMismatch, match="the configuration expects a"):
        await downloaded(store_at(tmp_path, hub.url, catalog=catalog))
    assert hub.transfers() == []


async def test_a_configured_sum_is_checked_when_the_hub_knows_none(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.give(REPO)
    hub.faults.set(hide_sha256=True)
    catalog = Catalog([replace(CATALOG.entries[0], sha256="a" * 64)])
    with pytest.raises(ChecksumMismatch):
        await downloaded(store_at(tmp_path, hub.url, catalog=catalog))
    model = await downloaded(store_at(tmp_path, hub.url))
    assert model.sha256 == sha256(model.paths[0])


@pytest.mark.parametrize("extra", [5, 3 << 20])
async def test_a_hub_that_sends_too_much_is_cut_short(hub: LoopbackHub, tmp_path: Path, extra: int) -> None:
    hub.give(REPO)
    hub.faults.set(extra_bytes=extra)
    with pytest.raises(DownloadFailed, match="more than"):
        await downloaded(store_at(tmp_path, hub.url))


async def test_a_redirect_to_another_host_gets_no_token(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = hub.give(REPO)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    cdn = replace_state(hub)
    async with served(create_hub(cdn, "cdn")) as url:
        hub.faults.set(redirect_to=url, token="hf_secret")
        model = await downloaded(store_at(tmp_path, hub.url))
    assert model.sha256 == sha256(source)
    assert hub.transfers()[0].authorization == "Bearer hf_secret"
    assert [asked.authorization for asked in cdn.asked] == [""]


REFUSALS = {
    "no repository": (Faults(), "hf:acme/nothing::file=a.gguf", ModelNotFound, "no repository acme/nothing"),
    "no file": (Faults(), f"hf:{REPO}::file=other.gguf", ModelNotFound, "no file other.gguf"),
    "no revision": (Faults(), f"hf:{REPO}@v9::file=tiny.gguf", ModelNotFound, "no revision v9"),
    "no name": (Faults(), "nobody", ModelNotFound, "no model nobody in the catalog"),
    "no token": (Faults(token="secret"), "tiny", Unauthorized, "answered 401"),
    "no rights": (Faults(api_status=403), "tiny", NotPermitted, "answered 403"),
    "gated": (Faults(gated=True), "tiny", NotPermitted, "is gated"),
    "file refused": (Faults(file_status=401), "tiny", Unauthorized, "answered 401"),
    "file gone": (Faults(file_status=404), "tiny", ModelNotFound, "the hub has no"),
    "portal": (Faults(portal=True), "tiny", DownloadFailed, "did not answer like a hub"),
    "hub down": (Faults(api_status=503), "tiny", DownloadFailed, "answered 503"),
    "a url": (Faults(), "http://10.0.0.1/x.gguf", InvalidRequest, "is a URL"),
    "a path": (Faults(), "/etc/passwd", InvalidRequest, "files are imported"),
}


@pytest.mark.parametrize(("faults", "reference", "kind", "says"), REFUSALS.values(), ids=REFUSALS)
async def test_a_refusal_says_why_at_once_and_leaves_nothing(
    hub: LoopbackHub, tmp_path: Path, faults: Faults, reference: str, kind: type[RbeeError], says: str
) -> None:
    hub.give(REPO)
    hub.faults = faults
    with pytest.raises(kind, match=says) as failed:
        await downloaded(store_at(tmp_path, hub.url), reference)
    assert type(failed.value) is kind
    assert len(hub.transfers()) <= 1
    if kind in (Unauthorized, NotPermitted):
        assert "HF_TOKEN" in failed.value.hint
    assert not [name for name in left_in(tmp_path / "models") if name.endswith(".gguf")]


async def test_a_dead_hub_fails_within_seconds(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(DownloadFailed, match=r"127\.0\.0\.1:1 did not deliver"):
        await downloaded(store_at(tmp_path, "http://127.0.0.1:1"))
    assert time.monotonic() - started < 10 * PATIENCE


async def test_a_hub_that_takes_the_call_and_says_nothing_fails_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "METADATA_TIMEOUT_S", 0.2)
    with bind_socket("127.0.0.1:0") as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(DownloadFailed, match="timed out|Timeout"):
            await downloaded(store_at(tmp_path, url))


async def test_the_environment_names_hub_and_token(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.give(REPO)
    hub.faults.set(token="hf_right")
    script = (
        "import asyncio, sys; from pathlib import Path; from tests.unit.adapters.downloading import *\n"
        "asyncio.run(downloaded(store_at(Path(sys.argv[1]), None)))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path), env=environ(HF_ENDPOINT=hub.url, HF_TOKEN="hf_right")
    )
    assert await process.wait() == 0
    assert {asked.authorization for asked in hub.asked} == {"Bearer hf_right"}
    assert (tmp_path / "models/tiny/tiny.gguf").exists()


async def test_two_at_once_are_one_transfer(hub: LoopbackHub, tmp_path: Path) -> None:
    source = hub.give(REPO, layers=BIG)
    hub.faults.set(rate_bytes_per_s=4_000_000)
    both = [all_events(store_at(tmp_path, hub.url)), all_events(store_at(tmp_path, hub.url))]
    first, second = await asyncio.gather(*both)
    assert first[-1].model is not None
    assert second[-1].model is not None
    assert first[-1].model.sha256 == second[-1].model.sha256 == sha256(source)
    assert len(hub.transfers()) == 1
    assert min(len(first), len(second)) >= 2, "the one that waits is told of progress too"
    assert left_in(tmp_path / "models") == {"tiny.json", "tiny/tiny.gguf"}


async def test_the_one_that_waits_takes_over_when_the_other_goes(hub: LoopbackHub, tmp_path: Path) -> None:
    source = hub.give(REPO, layers=BIG)
    hub.faults.set(stall_after_bytes=700_000, stalls=1)
    leaving = store_at(tmp_path, hub.url).download("tiny")
    await _until(leaving, lambda event: event.bytes_done >= 600_000)
    staying = asyncio.create_task(downloaded(store_at(tmp_path, hub.url)))
    await hub.until_asked("/api/", 2)
    await leaving.aclose()  # type: ignore[attr-defined]
    assert sha256((await staying).paths[0]) == sha256(source)
    assert [asked.range for asked in hub.transfers()] == ["", "bytes=655360-"]


async def test_a_partial_of_another_file_is_not_gone_on_with(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.give(REPO, layers=BIG)
    hub.faults.set(stall_after_bytes=700_000)
    events = store_at(tmp_path, hub.url).download("tiny")
    await _until(events, lambda event: event.bytes_done >= 600_000)
    await events.aclose()  # type: ignore[attr-defined]
    source = hub.give(REPO, layers=BIG, seed=7)
    hub.faults.set()
    assert sha256((await downloaded(store_at(tmp_path, hub.url))).paths[0]) == sha256(source)
    assert hub.transfers()[-1].range == ""


async def test_a_crash_before_the_record_is_healed_without_a_transfer(hub: LoopbackHub, tmp_path: Path) -> None:
    source = hub.give(REPO)
    (tmp_path / "models/tiny").mkdir(parents=True)
    shutil.copy(source, tmp_path / "models/tiny/tiny.gguf")
    assert (await downloaded(store_at(tmp_path, hub.url))).sha256 == sha256(source)
    assert hub.transfers() == []


async def test_split_parts_are_one_model(hub: LoopbackHub, tmp_path: Path) -> None:
    parts = split(hub.root / REPO / "q4", "big", 3)
    hub.faults.set(cut_after_bytes=300_000, cuts=1)
    reference = f"hf:{REPO}::file=q4/big-00001-of-00003.gguf"
    events = await all_events(store_at(tmp_path, hub.url), reference)
    model = events[-1].model
    assert model is not None
    assert [Path(path).name for path in model.paths] == [part.name for part in parts]
    assert [sha256(path) for path in model.paths] == [sha256(part) for part in parts]
    assert model.size_bytes == sum(part.stat().st_size for part in parts) == events[0].bytes_total
    done = [event.bytes_done for event in events]
    assert done == sorted(done)
    assert await store_at(tmp_path, hub.url).find(model.id) == model


async def test_a_repository_with_one_model_needs_no_file_name(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.give("acme/one", "weights.gguf")
    (hub.root / "acme/one/README.md").write_text("hello")
    model = await downloaded(store_at(tmp_path, hub.url), "hf:acme/one")
    assert model.reference == "hf:acme/one"
    assert model.id.startswith("weights-")
    assert await store_at(tmp_path, hub.url).find("hf:acme/one::file=weights.gguf") == model


async def test_a_repository_with_several_models_lists_them(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.give("acme/two", "a.gguf")
    hub.give("acme/two", "b.gguf")
    with pytest.raises(InvalidRequest, match=r"a\.gguf, b\.gguf") as failed:
        await downloaded(store_at(tmp_path, hub.url), "hf:acme/two")
    assert failed.value.hint == "name one: hf:acme/two::file=a.gguf"


async def test_a_file_that_is_no_model_never_gets_its_name(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.give(REPO).write_bytes(b"not a model" * 1000)
    with pytest.raises(InvalidRequest, match=r"tiny\.gguf: not a GGUF file"):
        await downloaded(store_at(tmp_path, hub.url))
    assert left_in(tmp_path / "models") == set()


async def test_no_room_is_said_before_the_first_byte(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = hub.give(REPO)
    size = source.stat().st_size
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: usage(10**6, 0, size - 1))
    with pytest.raises(InsufficientDisk, match=f"{size - 1} bytes free, {size} are needed") as failed:
        await downloaded(store_at(tmp_path, hub.url))
    assert failed.value.details == {"needed_bytes": size, "free_bytes": size - 1}
    assert hub.transfers() == []


async def test_bytes_that_are_here_need_no_room(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = hub.give(REPO, layers=BIG)
    hub.faults.set(stall_after_bytes=700_000)
    events = store_at(tmp_path, hub.url).download("tiny")
    await _until(events, lambda event: event.bytes_done >= 600_000)
    await events.aclose()  # type: ignore[attr-defined]
    hub.faults.set()
    usage = type(shutil.disk_usage(tmp_path))
    left = source.stat().st_size - 655_360
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: usage(10**6, 0, left))
    assert (await downloaded(store_at(tmp_path, hub.url))).sha256 == sha256(source)


async def test_a_disk_that_fills_up_ends_it_and_the_partial_goes(hub: LoopbackHub, tmp_path: Path) -> None:
    """On a real little disk: a tmpfs of 4 MB in a mount namespace of the downloading process."""
    hub.give(REPO, layers=BIG)
    hub.faults.set(rate_bytes_per_s=3_000_000)
    script = (
        "import asyncio, json, os, sys; from pathlib import Path\n"
        "from rbee.errors import InsufficientDisk; from tests.unit.adapters.downloading import *\n"
        "async def main(folder, url):\n"
        "    store = store_at(folder, url)\n"
        "    try:\n"
        "        async for event in store.download('tiny'):\n"
        "            if not (folder / 'filler').exists():\n"
        "                (folder / 'filler').write_bytes(bytes(3 << 20))\n"
        "    except InsufficientDisk as error:\n"
        "        print(json.dumps([error.details, sorted(left_in(folder))]))\n"
        "asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))\n"
    )
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"),
        'mount -t tmpfs -o size=4m disk "$1"; exec "$3" -c "$0" "$1" "$2"',
        *(script, str(tmp_path), hub.url, sys.executable),
        stdout=asyncio.subprocess.PIPE,
        env=environ(),
    )
    said, _ = await process.communicate()
    details, left = json.loads(said)
    assert details["needed_bytes"] > details["free_bytes"]
    assert left == ["filler"]


async def test_progress_comes_often_and_adds_up(hub: LoopbackHub, tmp_path: Path) -> None:
    source = hub.give(REPO, layers=BIG)
    hub.faults.set(rate_bytes_per_s=2_000_000)
    events = await all_events(store_at(tmp_path, hub.url))
    moving = [event for event in events if event.state == "downloading"]
    assert len(moving) >= 3
    assert {event.bytes_total for event in moving} == {source.stat().st_size}
    assert all(a.bytes_done <= b.bytes_done for a, b in itertools.pairwise(moving))
    assert moving[-1].rate_bytes_per_s
    assert moving[-1].eta_s is not None


async def test_an_alias_given_another_source_is_downloaded_anew(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.give(REPO)
    await downloaded(store_at(tmp_path, hub.url))
    source = hub.give("acme/other", "other.gguf", seed=3)
    catalog = Catalog([Entry(id="tiny", source=HubReference("acme/other", file="other.gguf"))])
    store = store_at(tmp_path, hub.url, catalog=catalog)
    assert await store.find("tiny") is None
    assert (await downloaded(store)).sha256 == sha256(source)
    assert left_in(tmp_path / "models") == {"tiny.json", "tiny/other.gguf"}


async def test_an_interrupted_download_can_be_thrown_away(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.give(REPO, layers=BIG)
    hub.faults.set(stall_after_bytes=700_000)
    store = store_at(tmp_path, hub.url)
    events = store.download("tiny")
    await _until(events, lambda event: event.bytes_done >= 600_000)
    with pytest.raises(RbeeError, match="is being downloaded"):
        await store.delete("tiny")
    await events.aclose()  # type: ignore[attr-defined]
    await store.delete("tiny")
    assert left_in(tmp_path / "models") == set()
    with pytest.raises(ModelNotFound):
        await store.delete("tiny")


async def test_a_folder_that_may_not_be_written_is_named(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.give(REPO)
    store = open_store(Path("/proc/models"), [], CATALOG, endpoint=hub.url)
    with pytest.raises(RbeeError) as failed:
        await downloaded(store)
    assert "/proc" in failed.value.message


def replace_state(hub: LoopbackHub) -> LoopbackHub:
    """Return a second hub over the same files."""
    return LoopbackHub(hub.root, Faults())


def split(folder: Path, stem: str, count: int) -> list[Path]:
    """Make a model of several files as llama.cpp's gguf-split does: each with tensors and split.* keys of its own."""
    import gguf
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number in range(count):
        path = folder / f"{stem}-{number + 1:05}-of-{count:05}.gguf"
        writer = gguf.GGUFWriter(str(path), "llama")
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", count)
        writer.add_int32("split.tensors.count", count)
        writer.add_block_count(1)
        writer.add_tensor(f"blk.{number}.weight", np.full((500, 256), number, np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        made.append(path)
    return made


async def _until(events: AsyncIterator[DownloadEvent], enough: object) -> None:
    async for event in events:
        if enough(event):  # type: ignore[operator]
            return
    raise AssertionError("it ended")
