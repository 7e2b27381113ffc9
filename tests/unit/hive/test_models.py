import dataclasses
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rbee.wire.catalog import DownloadEvent, Verification
from tests.fakes.pool import TINY, FakePool
from tests.unit.hive.conftest import run


async def test_models_are_listed(daemon: str) -> None:
    heading, line = (await run("models", "list")).out.splitlines()
    assert heading.split()[:3] == ["MODEL", "KIND", "SIZE"]
    assert line.split()[:3] == ["tiny", "488.3", "KiB"]
    assert [model["id"] for model in (await run("models", "list", "--format=json")).document] == ["tiny"]


async def test_the_catalog_says_what_is_here(daemon: str) -> None:
    assert (await run("models", "catalog")).out.splitlines()[1].split()[:2] == ["tiny", "yes"]


async def test_info(daemon: str) -> None:
    done = await run("models", "info", "tiny")
    assert "path           /models/tiny.gguf\n" in done.out
    assert (await run("models", "info", "tiny", "--format=json")).document["context_tokens"] == 2048


async def test_no_such_model_says_how_to_get_it(daemon: str) -> None:
    done = await run("models", "info", "qwen")
    assert (done.code, done.err) == (
        66,
        "test: model qwen is not on this host (pool:blep)\nhint: rbee-hive models download qwen\n",
    )


async def test_a_download_tells_bytes_rate_and_time_left(
    pool: FakePool, daemon: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def download(reference: str) -> AsyncIterator[DownloadEvent]:
        yield DownloadEvent(state="resolving")
        yield DownloadEvent(
            state="downloading", bytes_done=1 << 20, bytes_total=4 << 20, rate_bytes_per_s=1 << 20, eta_s=3.0
        )
        yield DownloadEvent(state="done", model=dataclasses.replace(TINY, id=reference))

    monkeypatch.setattr(pool.models, "download", download)
    done = await run("models", "download", "qwen")
    assert done.err == "resolving qwen 0 B\ndownloading qwen 25% 1.0 MiB of 4.0 MiB, 1.0 MiB/s, 3.0 s left\n"
    assert done.out.startswith("model          qwen\n")


async def test_an_import_means_the_path_as_seen_from_here(
    daemon: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = await run("models", "import", "a.gguf", "--id=mine", "--format=json")
    assert (done.document["id"], done.document["paths"]) == ("mine", [os.fspath(tmp_path / "a.gguf")])


@pytest.mark.parametrize(
    ("reference", "hint"),
    [
        ("hf:acme/tiny", "rbee-hive models delete tiny --yes && rbee-hive models download hf:acme/tiny"),
        (
            "file:/m/a b.gguf",
            "rbee-hive models delete tiny --yes; put a whole file there, and rbee-hive models import '/m/a b.gguf'",
        ),
    ],
)
async def test_verify(pool: FakePool, daemon: str, monkeypatch: pytest.MonkeyPatch, reference: str, hint: str) -> None:
    assert (await run("models", "verify", "tiny", "--format=json")).document["ok"] is True

    async def damaged(model: str) -> Verification:
        return Verification(
            id=model,
            ok=False,
            size_bytes=1,
            sha256="b",
            expected_sha256="a",
            problem="byte 7 is another",
            reference=reference,
        )

    monkeypatch.setattr(pool.models, "verify", damaged)
    done = await run("models", "verify", "tiny")
    assert done.code == 69
    assert "tiny is damaged: byte 7 is another" in done.err
    assert f"hint: {hint}\n" in done.err


async def test_a_delete_asks_first(pool: FakePool, daemon: str) -> None:
    assert (await run("models", "delete", "tiny")).code == 64
    assert (await run("models", "delete", "tiny", "--dry-run")).out == "would delete tiny, 488.3 KiB\n"
    assert "tiny" in pool.models.files
    assert (await run("models", "delete", "tiny", "--yes")).out == "tiny deleted\n"
    assert pool.models.files == {}


async def test_a_model_in_use_stays(pool: FakePool, daemon: str) -> None:
    await run("worker", "spawn", "cpu", "--model=tiny")
    done = await run("models", "delete", "tiny", "--yes")
    assert done.code == 73
    assert "tiny is used by worker-cpu-0" in done.err


@pytest.mark.parametrize("argv", [("models", "download", "qwen"), ("models", "import", "/a.gguf")])
async def test_a_dry_run_changes_nothing(pool: FakePool, daemon: str, argv: tuple[str, ...]) -> None:
    assert (await run(*argv, "--dry-run")).out.startswith(f"would {argv[1]} ")
    assert list(pool.models.files) == ["tiny"]
