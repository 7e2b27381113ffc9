"""Reading a model's bytes again, and saying what is wrong with them."""

from dataclasses import replace
from pathlib import Path

from rbee.adapters.model_files import Mark, combined, describe, inspect, inspect_all, mark
from rbee.adapters.model_store.records import Record
from rbee.adapters.threads import in_thread, sha256_of
from rbee.errors import RbeeError
from rbee.wire.catalog import Verification


async def read_again(record: Record) -> tuple[Verification, Record | None]:
    """Return the verdict, and the record as it is to be kept; None when the model is not what it was."""
    seen: list[Mark] = []
    for expected in record.files:
        problem, found = await _read(expected)
        seen.append(found)
        if problem:
            return _verdict(record, seen, problem), None
    headers = await in_thread(inspect_all, [Path(found.path) for found in seen])
    model = record.model
    described = describe(model.id, model.reference, seen, headers, revision=model.revision)
    return _verdict(record, seen, ""), replace(record, model=described, files=tuple(seen))


async def _read(expected: Mark) -> tuple[str, Mark]:
    """Return what is wrong with a file, or nothing, and what it is now."""
    path, name = Path(expected.path), Path(expected.path).name
    try:
        found = await in_thread(mark, path)
        if found.size_bytes != expected.size_bytes:
            return f"{name} has {found.size_bytes} bytes, expected {expected.size_bytes}", found
        found = replace(found, sha256=await sha256_of(path))
        await in_thread(inspect, path)
    except RbeeError as error:
        return f"{name}: {error.message}", found
    except OSError as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        return f"{name} {reason}", Mark(path=str(path), size_bytes=0, modified_ns=0)
    if expected.sha256 and found.sha256 != expected.sha256:
        return f"{name} has sha256 {found.sha256}, expected {expected.sha256}", found
    return "", found


def _verdict(record: Record, seen: list[Mark], problem: str) -> Verification:
    return Verification(
        id=record.model.id,
        ok=not problem,
        size_bytes=sum(found.size_bytes for found in seen),
        sha256=combined([found.sha256 for found in seen]) if len(seen) == len(record.files) else "",
        expected_sha256=combined([expected.sha256 for expected in record.files]),
        problem=problem,
        reference=record.model.reference,
        details={"paths": [expected.path for expected in record.files]},
    )
