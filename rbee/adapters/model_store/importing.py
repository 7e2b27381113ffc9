"""Files that people put under a model root: which they are, and whether they may be registered."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from rbee.adapters.files import permitted
from rbee.adapters.model_store.records import Record
from rbee.errors import Conflict, InvalidRequest, NotFound, NotPermitted
from rbee.pool_core.catalog import PathReference, id_of_file, parse, parts_of
from rbee.wire.fields import NAME


def locate(path: str, roots: Sequence[Path]) -> tuple[Path, ...]:
    """Return the real paths of all parts of the model that ``path`` is of.

    Raises:
        InvalidRequest: not an absolute path, or a part is missing.
        NotPermitted: it is not under ``roots``, or a link leads out of them. Whether it exists is not said then.
        NotFound: it is not there.
    """
    reference = _path(path)
    named, real = Path(reference.path), _within(reference.path, roots)
    with permitted(named):
        if not real.exists():
            raise NotFound(f"{named} is not there", details={"path": str(named)})
        parts = [named.parent / part for part in parts_of(named.name)]
        missing = [part.name for part in parts if not part.exists()]
    if missing:
        raise InvalidRequest(
            f"{named.name} is one of {len(parts)} parts, {', '.join(missing[:5])} is not beside it",
            details={"missing": missing},
        )
    return tuple(_within(str(part), roots) for part in parts)


def check_importable(
    paths: Sequence[Path], model: str | None, known: Sequence[Record], embedded: Collection[str]
) -> str:
    """Return the id to register ``paths`` under.

    Raises:
        InvalidRequest: ``model`` is no id.
        Conflict: the id is another file's, or the file has another id.
    """
    if model is not None and not NAME.fullmatch(model):
        raise InvalidRequest(f"id is {model[:100]!r}, expected it to match {NAME.pattern}")
    texts = tuple(map(str, paths))
    same = next((record.model for record in known if record.model.paths == texts), None)
    if same is not None:
        if model in (None, same.id):
            return same.id
        raise Conflict(f"{texts[0]} is model {same.id} already", hint=f"rbee-hive models info {same.id}")
    chosen = model or id_of_file(texts[0])
    other = next((record.model.paths[0] for record in known if record.model.id == chosen), None)
    if other is None and chosen in embedded:
        other = "the embedded one"
    if other is not None:
        raise Conflict(f"{chosen} is another model, {other}", hint="import it under another id, or rename the file")
    return chosen


def _path(path: str) -> PathReference:
    try:
        reference = parse(path)
    except InvalidRequest:
        reference = None
    if not isinstance(reference, PathReference):
        raise InvalidRequest(f"path is {path[:200]!r}, expected an absolute path, /models/some.gguf")
    return reference


def _within(path: str, roots: Sequence[Path]) -> Path:
    real = Path(os.path.realpath(path))
    if any(real.is_relative_to(os.path.realpath(root)) for root in roots):
        return real
    listed = ", ".join(f'"{root}"' for root in (*roots[1:], real.parent))
    add = f", or add to rbee.toml its folder, [pool] model_roots = [{listed}], or itself, [models.<name>] path"
    leads = "" if str(real) == os.path.normpath(path) else f" leads to {real}, which"
    raise NotPermitted(
        f"{path}{leads} is under none of the model roots, {', '.join(map(str, roots))}",
        hint=f"move the file itself there{add if real.parent != Path('/') else ''}",
        details={"roots": [str(root) for root in roots]},
    )
