"""A hub that speaks as huggingface.co does to huggingface_hub, over a folder ``<root>/<org>/<name>/…``.

The routes and headers are those that huggingface_hub 2.4 uses, found by listening to it.
"""

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sanic import Request, Sanic
from sanic.response import BaseHTTPResponse, HTTPResponse, html, json

from tests.hub.faults import Faults

_PIECE = 64 << 10


@dataclass(frozen=True)
class Asked:
    """A request as it came in. ``range`` and ``authorization`` are empty when they were not sent."""

    method: str
    path: str
    range: str
    authorization: str


@dataclass
class HubState:
    root: Path
    faults: Faults = field(default_factory=Faults)
    asked: list[Asked] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def files(self, repo: str) -> dict[str, Path] | None:
        folder = self.root / repo
        if not folder.is_dir():
            return None
        return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}

    def commit(self, repo: str) -> str:
        """Return a commit that changes when the files do."""
        found = self.files(repo) or {}
        digest = hashlib.sha1()
        for name, path in found.items():
            digest.update(f"{name} {_sha256(path)}\n".encode())
        return digest.hexdigest()

    def sha256(self, path: Path) -> str:
        return "0" * 64 if self.faults.lie_about_sha256 else _sha256(path)

    async def until_asked(self, path: str, times: int) -> None:
        """Wait until so many requests came whose path begins so."""
        while sum(asked.path.startswith(path) for asked in self.asked) < times:
            self.news.clear()
            await self.news.wait()

    def transfers(self) -> list[Asked]:
        """Return the requests for bytes of files."""
        return [asked for asked in self.asked if asked.method == "GET" and "/resolve/" in asked.path]


def create_hub(state: HubState, name: str = "hub") -> "Sanic[Any, Any]":
    app: Sanic[Any, Any] = Sanic(name, configure_logging=False)
    app.config.update(MOTD=False, ACCESS_LOG=False, RESPONSE_TIMEOUT=3600, GRACEFUL_SHUTDOWN_TIMEOUT=0.1)
    app.ctx.hub = state
    app.on_request(_first)
    app.add_route(_model_info, "/api/models/<org:str>/<model:str>", name="info")
    app.add_route(_model_info, "/api/models/<org:str>/<model:str>/revision/<revision:str>", name="info_at")
    app.add_route(
        _resolve, "/<org:str>/<model:str>/resolve/<revision:str>/<path:path>", methods=["GET", "HEAD"], name="resolve"
    )
    app.add_route(_set_faults, "/-/faults", methods=["PUT"], name="faults")
    app.add_route(_tell_asked, "/-/asked", name="asked")
    return app


async def _first(request: Request) -> HTTPResponse | None:
    state: HubState = request.app.ctx.hub
    if request.path.startswith("/-/"):
        return None
    authorization = request.headers.get("authorization", "")
    state.asked.append(Asked(request.method, request.path, request.headers.get("range", ""), authorization))
    state.news.set()
    if state.faults.portal:
        return html("<html>Welcome to the station. Please accept our terms.</html>")
    if state.faults.token and authorization != f"Bearer {state.faults.token}":
        return _error(401, "")
    return None


async def _model_info(request: Request, org: str, model: str, revision: str = "main") -> HTTPResponse:
    state: HubState = request.app.ctx.hub
    repo = f"{org}/{model}"
    if state.faults.api_status and state.faults.take("failures"):
        return _error(state.faults.api_status, "")
    files = state.files(repo)
    if files is None:
        return _error(404, "RepoNotFound")
    if revision not in ("main", state.commit(repo)):
        return _error(404, "RevisionNotFound")
    siblings = [_sibling(state, name, path) for name, path in files.items()]
    return json({"id": repo, "sha": state.commit(repo), "private": False, "tags": ["gguf"], "siblings": siblings})


def _sibling(state: HubState, name: str, path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    found: dict[str, Any] = {"rfilename": name, "size": size}
    if not state.faults.hide_sha256:
        found["lfs"] = {"sha256": state.sha256(path), "size": size, "pointerSize": 134}
    return found


async def _resolve(request: Request, org: str, model: str, revision: str, path: str) -> BaseHTTPResponse | None:
    state: HubState = request.app.ctx.hub
    faults = state.faults
    if faults.gated:
        return _error(403, "GatedRepo")
    if faults.file_status and faults.take("failures"):
        return _error(faults.file_status, "")
    files = state.files(f"{org}/{model}")
    if files is None:
        return _error(404, "RepoNotFound")
    if path not in files:
        return _error(404, "EntryNotFound")
    if faults.redirect_to and request.headers.get("host", "") not in faults.redirect_to:
        return HTTPResponse(status=302, headers={"Location": f"{faults.redirect_to}{request.path}"})
    return await _send(request, state, files[path])


async def _send(request: Request, state: HubState, path: Path) -> BaseHTTPResponse | None:
    faults, size = state.faults, path.stat().st_size
    span = request.headers.get("range", "")
    start = int(span.removeprefix("bytes=").rstrip("-")) if span and not faults.ignore_range else 0
    headers = {"ETag": f'"{state.sha256(path)}"', "X-Linked-Size": str(size), "Accept-Ranges": "bytes"}
    if not faults.extra_bytes:
        headers["Content-Length"] = str(size - start)
    if start:
        headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
    if request.method == "HEAD":
        return HTTPResponse(headers=headers)
    response = await request.respond(
        status=206 if start else 200, headers=headers, content_type="application/octet-stream"
    )
    assert response is not None
    flip = faults.flip_byte_at if faults.flip_byte_at is not None and faults.take("flips") else None
    sent = 0
    for piece in _pieces(path, start, flip, faults.extra_bytes):
        if not await _carry_on(request, faults, sent, len(piece)):
            return None
        await response.send(piece)
        sent += len(piece)
    await response.eof()
    return None


async def _carry_on(request: Request, faults: Faults, sent: int, more: int) -> bool:
    """Fail as told before the next piece; return whether to send it."""
    if faults.cut_after_bytes is not None and sent + more > faults.cut_after_bytes and faults.take("cuts"):
        assert request.transport is not None
        request.transport.close()  # what was sent arrives; then the end
        return False
    if faults.stall_after_bytes is not None and sent + more > faults.stall_after_bytes and faults.take("stalls"):
        await asyncio.Event().wait()
    if faults.rate_bytes_per_s:
        await asyncio.sleep(more / faults.rate_bytes_per_s)
    return True


def _pieces(path: Path, start: int, flip_at: int | None, extra: int) -> Iterator[bytes]:
    with path.open("rb") as stream:
        stream.seek(start)
        at = start
        while data := stream.read(_PIECE):
            if flip_at is not None and at <= flip_at < at + len(data):
                wrong = bytearray(data)
                wrong[flip_at - at] ^= 0xFF
                data = bytes(wrong)
            yield data
            at += len(data)
    if extra:
        yield b"\0" * extra


async def _set_faults(request: Request) -> HTTPResponse:
    request.app.ctx.hub.faults.set(**(request.json or {}))
    return json({})


async def _tell_asked(request: Request) -> HTTPResponse:
    return json([vars(asked) for asked in request.app.ctx.hub.asked])


def _error(status: int, code: str) -> HTTPResponse:
    return json({"error": code or f"status {status}"}, status=status, headers={"X-Error-Code": code} if code else {})


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
