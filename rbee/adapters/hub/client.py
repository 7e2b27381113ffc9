"""The Hugging Face hub: what a reference stands for, and the bytes of a file from any offset.

huggingface_hub resolves, builds URLs and headers (``HF_ENDPOINT``, ``HF_TOKEN``, proxies) and raises its errors;
transfers are our own GET with Range, since its own neither resume in a new process nor check the sha256
(measured with 2.4). Importing this takes 0.4 s: import it where a hub is really wanted.
"""

import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

# Read once, when huggingface_hub is imported: no request of its own about who is calling, and no Xet.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")

import httpx2  # huggingface_hub's HTTP library: what its sessions raise
from huggingface_hub import HfApi, constants, get_async_session, hf_hub_url, hf_raise_for_status
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import ModelInfo, RepoSibling
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented, not in its __all__

from rbee import __version__
from rbee.adapters.threads import in_thread
from rbee.errors import DownloadFailed, InvalidRequest, ModelNotFound, NotPermitted, RbeeError, Unauthorized
from rbee.pool_core.catalog import HubReference, choose_file, parts_of
from rbee.pool_core.ports import Body, RemoteFile

METADATA_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 5.0
STALL_S = 60.0
_READ_BYTES = 1 << 16
_ANSWERS = (httpx2.HTTPError, HFValidationError, OfflineModeIsEnabled, ValueError, KeyError, TypeError, AttributeError)
"""What comes of asking something that is no hub, or is not there."""


@dataclass(frozen=True, slots=True)
class HubModel:
    """What a reference stood for when it was resolved: a commit, and the parts of one model."""

    reference: HubReference
    commit: str
    files: tuple[RemoteFile, ...]

    @property
    def pinned(self) -> HubReference:
        return HubReference(self.reference.repo, self.commit, self.files[0].path)


class Hub:
    """One hub. ``stall_s`` without a byte ends a transfer."""

    name = "the hub"

    def __init__(self, *, endpoint: str | None = None, stall_s: float = STALL_S) -> None:
        self.endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        self.stall_s = stall_s

    async def resolve(self, reference: HubReference) -> HubModel:
        """Return the commit, the files, their sizes and sums.

        Raises:
            ModelNotFound: no such repository, revision or file.
            Unauthorized, NotPermitted: a token is wanted, or the one there is does not do.
            InvalidRequest: several models and none named.
            DownloadFailed: the hub is not there, or is no hub.
        """
        info = await self._info(reference)
        sizes = {file.rfilename: file for file in info.siblings or ()}
        path = reference.file or choose_file(sizes, reference.repo)
        commit = str(info.sha or reference.revision or "main")
        return HubModel(
            reference, commit, tuple(self._file(reference, commit, part, sizes) for part in _parts(path))
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def read(self, file: RemoteFile, offset: int) -> AsyncIterator[Body]:
        """Ask for ``file`` from ``offset`` on; the hub may answer from the start.

        Raises:
            DownloadFailed: now or while reading: refused, cut, stalled, or not the length that was promised.
            ModelNotFound, Unauthorized, NotPermitted: as when resolving.
        """
        url = hf_hub_url(file.repo, file.path, revision=file.commit, endpoint=self.endpoint)
        timeout = httpx2.Timeout(self.stall_s, connect=CONNECT_TIMEOUT_S, pool=CONNECT_TIMEOUT_S)
        try:
            async with (
                get_async_session() as session,
                session.stream("GET", url, headers=_headers(offset), timeout=timeout) as response,
            ):
                hf_raise_for_status(response)
                yield Body(_start(response, file, offset), response.aiter_raw(_READ_BYTES))
        except (httpx2.HTTPError, OfflineModeIsEnabled) as error:
            raise self._failure(error, HubReference(file.repo, file.commit, file.path)) from error

    async def _info(self, reference: HubReference) -> ModelInfo:
        api = HfApi(endpoint=self.endpoint, library_name="rbee", library_version=__version__)
        try:
            return await in_thread(
                api.model_info,
                reference.repo,
                revision=reference.revision or None,
                files_metadata=True,
                timeout=METADATA_TIMEOUT_S,
            )
        except _ANSWERS as error:
            raise self._failure(error, reference) from error

    def _file(self, reference: HubReference, commit: str, path: str, found: dict[str, RepoSibling]) -> RemoteFile:
        sibling = found.get(path)
        if sibling is None:
            models = sorted(name for name in found if name.endswith(".gguf"))
            raise ModelNotFound(
                f"hf:{reference.repo} has no file {path}",
                hint=f"it has {', '.join(models[:10]) or 'no .gguf file'}",
                details={"files": models[:100]},
            )
        sha256 = sibling.lfs.sha256 if sibling.lfs else ""
        return RemoteFile(reference.repo, commit, path, sibling.size or 0, sha256)

    def _failure(self, error: BaseException, reference: HubReference) -> RbeeError:
        """Return what the hub's answer means to whoever asked for ``reference``."""
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else 0
        match error:
            case GatedRepoError():
                return NotPermitted(
                    f"{reference} is gated, and the hub answered {status}",
                    hint=f"accept its terms on {self.endpoint}/{reference.repo}, and set HF_TOKEN",
                )
            case RevisionNotFoundError():
                return ModelNotFound(f"hf:{reference.repo} has no revision {reference.revision or 'main'}")
            case EntryNotFoundError():
                return ModelNotFound(f"hf:{reference.repo} has no file {reference.file}")
            case RepositoryNotFoundError() if status == 404:
                return ModelNotFound(
                    f"the hub has no repository {reference.repo}", hint=f"look for it on {self.endpoint}/models"
                )
            case HFValidationError():
                return InvalidRequest(f"{reference} is not a repository the hub could have: {error}")
            case OfflineModeIsEnabled():
                return DownloadFailed(
                    f"{reference} was not fetched: HF_HUB_OFFLINE is set", hint="unset HF_HUB_OFFLINE"
                )
        return self._by_status(status, reference) if status else self._unreachable(error, reference)

    def _by_status(self, status: int, reference: HubReference) -> RbeeError:
        match status:
            case 401:
                return Unauthorized(
                    f"the hub answered 401 for {reference}: it is private, or it is not there",
                    hint="set HF_TOKEN to a token that may read it (for the daemon: systemctl edit rbee-pool)",
                )
            case 403:
                return NotPermitted(
                    f"the hub answered 403 for {reference}",
                    hint="set HF_TOKEN to a token that may read it, and accept the model's terms on the hub",
                )
            case 404:
                return ModelNotFound(f"the hub has no {reference}")
        return DownloadFailed(f"the hub answered {status} for {reference}", hint="try again later")

    def _unreachable(self, error: BaseException, reference: HubReference) -> RbeeError:
        said = str(error) or type(error).__name__
        what = "did not deliver" if isinstance(error, httpx2.HTTPError) else "did not answer like a hub for"
        return DownloadFailed(
            f"{self.endpoint} {what} {reference}: {said}",
            hint=f"curl -I {self.endpoint}; another hub is named by HF_ENDPOINT",
        )


def _parts(path: str) -> tuple[str, ...]:
    """Return all parts of a model in a repository; the folder is part of each name."""
    folder, slash, name = path.rpartition("/")
    return tuple(f"{folder}{slash}{part}" for part in parts_of(name))


def _headers(offset: int) -> dict[str, str]:
    headers = build_hf_headers(library_name="rbee", library_version=__version__)
    headers["Accept-Encoding"] = "identity"  # the offsets are those of the file
    if offset:
        headers["Range"] = f"bytes={offset}-"
    return headers


def _start(response: httpx2.Response, file: RemoteFile, offset: int) -> int:
    """Return the offset that the answer begins at.

    Raises:
        DownloadFailed: it is of another length, or begins elsewhere.
    """
    start = 0
    if response.status_code == 206:
        span = response.headers.get("Content-Range", "")
        if not span.startswith(f"bytes {offset}-") or not span.endswith((f"/{file.size_bytes}", "/*")):
            raise DownloadFailed(f"the hub answered {span!r} for {file.path}, expected bytes from {offset} on")
        start = offset
    length = response.headers.get("Content-Length")
    if length is not None and length != str(file.size_bytes - start):
        raise DownloadFailed(f"the hub sends {length} bytes of {file.path}, expected {file.size_bytes - start}")
    return start
