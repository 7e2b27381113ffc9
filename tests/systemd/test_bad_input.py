"""Junk at every door: a 4xx that names what is wrong, and a daemon that never noticed."""

import asyncio
import io
import json
from typing import Any

import aiohttp
import pytest

from tests.systemd.lab import POOL, QUEEN, Lab

DOORS = {
    "submit": (QUEEN, "/v2/tasks"),
    "queen-spawn": (QUEEN, "/v2/workers"),
    "register": (QUEEN, "/v2/pools/blep/register"),
    "heartbeat": (QUEEN, "/v2/pools/blep/heartbeat"),
    "chat": (QUEEN, "/v1/chat/completions"),
    "completions": (QUEEN, "/v1/completions"),
    "pool-spawn": (POOL, "/v2/workers"),
    "download": (POOL, "/v2/models"),
    "import": (POOL, "/v2/models/import"),
}
JUNK = {
    "not-json": b"{",
    "invalid-utf8": b'{"model": "\xff\xfe"}',
    "nul": b'{"model": "a\\u0000b", "prompt": "x\\u0000"}',
    "wrong-types": b'{"model": 3, "prompt": [], "messages": 7, "backend": {}, "path": 1}',
    "missing": b"{}",
    "unknown-field": b'{"model": "tiny", "prompt": "a", "colour": "red", "ExecStart": "/bin/sh"}',
    "a-list": b"[]",
    "null": b"null",
    "deep": b"[" * 50_000,
    "half-a-surrogate": b'{"model": "\\ud800", "prompt": "\\udfff"}',
    "too-long": json.dumps({"model": "m" * 5000, "prompt": "p", "path": "x" * 9000}).encode(),
    "huge-numbers": b'{"model": "tiny", "prompt": "a", "max_tokens": 1e999, "ctx": -1, "seed": 99999999999999999999}',
    "url-as-model": b'{"model": "http://10.0.0.1/x.gguf", "prompt": "a", "backend": "cpu"}',
    "path-as-model": b'{"model": "/etc/passwd", "prompt": "a", "backend": "cpu", "path": "/etc/passwd"}',
}


async def post(lab: Lab, base: str, path: str, data: Any) -> tuple[int, dict[str, Any]]:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {lab.token}"}
    async with aiohttp.ClientSession(headers=headers) as session, session.post(base + path, data=data) as response:
        return response.status, await response.json()


@pytest.mark.parametrize("door", DOORS)
def test_junk_is_refused_by_name_and_changes_nothing(shared: Lab, door: str) -> None:
    base, path = DOORS[door]
    unit = "rbee-queen.service" if base == QUEEN else "rbee-pool.service"
    with shared.network():
        for name, data in JUNK.items():
            if door in ("chat", "completions") and name == "unknown-field":
                continue  # OpenAI's clients may send what we do not know; there it is accepted on purpose
            status, answer = asyncio.run(post(shared, base, path, data))
            assert 400 <= status < 500, (door, name, status, answer)
            error = answer["error"]
            assert error["code"] not in ("internal", ""), (door, name)
            assert len(error["message"]) > 10, (door, name)
            if name == "wrong-types":
                assert len(error["details"].get("fields", [])) >= 1, (door, error)
    assert shared.show(unit, "NRestarts") == "0"
    assert shared.units("rbee-worker-*") == set()


@pytest.mark.parametrize("door", ["submit", "chat", "pool-spawn"])
def test_a_body_of_100_mb_is_refused_without_being_held(shared: Lab, door: str) -> None:
    base, path = DOORS[door]
    unit = "rbee-queen.service" if base == QUEEN else "rbee-pool.service"
    with shared.network():
        try:
            status, answer = asyncio.run(post(shared, base, path, io.BytesIO(b"x" * (100 << 20))))
        except aiohttp.ClientOSError:
            pass  # closed while we were still sending
        else:
            assert (status, answer["error"]["code"]) == (413, "payload_too_large")
        status, answer = asyncio.run(post(shared, base, path, b"{}"))
    assert status == 400
    assert int(shared.show(unit, "MemoryCurrent")) < 300 << 20


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "empty"), (b"GGUF", "truncated"), (b"not a model at all, just text" * 9, "GGUF"), (None, "truncated")],
    ids=["empty", "only-magic", "text", "cut-short"],
)
def test_a_file_that_is_no_whole_model_is_refused(shared: Lab, content: bytes | None, says: str) -> None:
    models = shared.host.root / "var/lib/rbee/models"
    if content is None:
        content = (models / "tiny.gguf").read_bytes()[:200_000]
    (models / "bad.gguf").write_bytes(content)
    (models / "bad.gguf").chmod(0o644)
    status, error = shared.refused("rbee-hive", "models", "import", "/var/lib/rbee/models/bad.gguf")
    assert status == 64
    assert says.lower() in error["message"].lower(), error
    assert "bad" not in {model["id"] for model in shared.hive_json("models", "list")}
    (models / "bad.gguf").unlink()


def test_a_model_that_lies_about_itself_fails_to_load_and_says_so(shared: Lab) -> None:
    models = shared.host.root / "var/lib/rbee/models"
    data = bytearray((models / "tiny.gguf").read_bytes())
    data[data.index(b"general.architecture") :][:0] = b""
    position = data.index(b"llama", data.index(b"general.architecture"))
    data[position : position + 5] = b"lambs"
    (models / "liar.gguf").write_bytes(bytes(data))
    (models / "liar.gguf").chmod(0o644)
    shared.hive("models", "import", "/var/lib/rbee/models/liar.gguf", check=False)
    status, error = shared.refused("rbee-hive", "worker", "spawn", "cpu", "--model", "liar")
    assert status in (69, 66)
    assert error["code"] in ("model_load_failed", "model_not_found"), error
    assert shared.units("rbee-worker-*") == set()


@pytest.mark.parametrize(
    ("argv", "status", "code"),
    [
        (("jobs", "status", "nobody"), 66, "not_found"),
        (("jobs", "cancel", "nobody"), 66, "not_found"),
        (("jobs", "events", "nobody"), 66, "not_found"),
        (("jobs", "explain", "nobody"), 66, "not_found"),
        (("jobs", "submit", "--model", "nothing", "--prompt", "x"), 66, "model_not_found"),
        (("jobs", "submit", "--model", "tiny", "--prompt", "x", "--max-tokens", "0"), 64, "invalid_request"),
        (("jobs", "submit", "--model", "tiny", "--prompt", ""), 64, "invalid_request"),
        (("jobs", "submit", "--model", "tiny", "--raw", "--prompt", "word " * 9000), 64, "context_too_long"),
        (("jobs", "list", "--state", "sleeping"), 64, "invalid_request"),
        (("pool", "status", "nowhere"), 66, "not_found"),
        (("pool", "remove", "nowhere", "--yes"), 66, "not_found"),
    ],
    ids=lambda value: "-".join(value)[:40] if isinstance(value, tuple) else None,
)
def test_each_refusal_has_its_code_and_its_exit_status(
    shared: Lab, argv: tuple[str, ...], status: int, code: str
) -> None:
    got, error = shared.refused("rbee", *argv)
    assert (got, error["code"]) == (status, code), error


def test_bad_usage_is_64_and_shows_the_usage(shared: Lab) -> None:
    for program in ("rbee", "rbee-hive", "queen-rbee", "pool-managerd"):
        done = shared.host.run([program, "--nonsense"], check=False)
        assert done.returncode == 64, program
        assert "Usage" in done.stderr, program
        assert done.stdout == "", program


def test_a_queen_that_is_not_there_is_69_with_a_hint(shared: Lab) -> None:
    done = shared.host.run(["rbee", "jobs", "list"], env={"RBEE_KEEPER_QUEEN": "http://127.0.0.1:1"}, check=False)
    assert done.returncode == 69
    assert "127.0.0.1:1" in done.stderr
    assert "hint" in done.stderr.lower() or "systemctl" in done.stderr
