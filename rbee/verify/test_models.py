"""The model files, against what was written down of them."""

import shlex
from collections.abc import Iterator
from typing import Any

from rbee.verify.facts import Facts
from rbee.verify.host import Host
from rbee.verify.options import MODELS
from rbee.verify.unmet import does_not_apply, require

STALE_S = 3600.0


def test_records_can_be_read(facts: Facts) -> None:
    """The record of every model can be read"""
    models = facts["models"]
    if models["error"]:
        facts.root_only()
        does_not_apply(f"no folder of models: {models['error']}; see users.models_are_rbees")
    broken = {record["path"]: record["error"] for record in models["records"] if record["error"]}
    require(broken, {}, mend=f"rm {shlex.join(broken)}; rbee-hive models list", nixos=MODELS)


def test_files_are_whole(facts: Facts) -> None:
    """Every file of every model is there, with the size that its record has"""
    wrong = {
        file["path"]: file.get("problem") or f"{file['size_found']} bytes, not {file['size']}"
        for _, file in _files(facts)
        if file["size_found"] != file["size"]
    }
    require(wrong or "all whole", "all whole", mend=_again(facts, wrong), nixos=MODELS)


def test_files_are_gguf(facts: Facts) -> None:
    """Every file begins as a GGUF does"""
    wrong = {file["path"]: repr(file["magic"]) for _, file in _files(facts) if _whole(file) and file["magic"] != "GGUF"}
    require(wrong or "'GGUF'", "'GGUF'", mend=_again(facts, wrong), nixos=MODELS)


def test_checksums_are_right(facts: Facts, host: Host) -> None:
    """Every byte of every file is the one that was written down: sha256"""
    known = {
        file["path"]: file["sha256"] for _, file in _files(facts) if file["sha256"] and _whole(file) and _gguf(file)
    }
    if not known:
        does_not_apply("no model here has a file with a known sha256 that is whole")
    sums = _hashed(host, list(known))
    wrong = {path: sums.get(path, "unread") for path, expected in known.items() if sums.get(path) != expected}
    expected = {path: known[path] for path in wrong} or "all right"
    require(wrong or "all right", expected, mend=_again(facts, wrong), nixos=MODELS)


def test_no_download_was_abandoned(facts: Facts) -> None:
    """No unfinished download has lain for more than an hour"""
    old = {
        one["path"]: f"{one['age_s'] / 3600:.0f} h old" for one in facts["models"]["partials"] if one["age_s"] > STALE_S
    }
    mend = f"rm -f {shlex.join([*old, *(f'{path}.json' for path in old)])}"
    require(old, {}, mend=mend)


def _files(facts: Facts) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each file with its record; the check ends when there are none."""
    found = [(record, file) for record in facts["models"]["records"] for file in record["files"]]
    if not found:
        does_not_apply("no model has been downloaded or imported on this host")
    yield from found


def _whole(file: dict[str, Any]) -> bool:
    """Say whether the file is there in its length; one that is not is named by models.files_are_whole."""
    return bool(file["size_found"] == file["size"])


def _gguf(file: dict[str, Any]) -> bool:
    return bool(file["magic"] == "GGUF")


def _hashed(host: Host, paths: list[str]) -> dict[str, str]:
    """Return the sums by path. The host does it: what it takes is its disk's time."""
    done = host.run("sha256sum --zero -- " + " ".join(["%s"] * len(paths)), *paths)
    rows = (row.partition("  ") for row in done.stdout.split("\0") if row)
    return {path: digest for digest, _, path in rows}


def _again(facts: Facts, wrong: dict[str, str]) -> str:
    """Return what takes the broken models away and brings them anew, where they came from a hub.

    By their files: a model that is cut is none to rbee-hive, so it cannot delete it. An imported file is its owner's:
    only its record goes, and what is left for them to do is a comment at the end.
    """
    records = {record["model"]: record for record, file in _files(facts) if file["path"] in wrong}
    steps, by_hand = [], []
    for _, record in sorted(records.items()):
        imported = record["reference"].startswith("file:")
        files = [] if imported else [file["path"] for file in record["files"]]
        steps.append(f"rm -f {shlex.join([record['path'], *files])}")
        if imported:
            again = shlex.join(["rbee-hive", "models", "import", record["files"][0]["path"], "--id", record["model"]])
            by_hand.append(again)
        else:
            steps.append(f"rbee-hive models download {shlex.quote(record['reference'])}")
    return "; ".join(steps) + (f"  # then put a whole file there: {'; '.join(by_hand)}" if by_hand else "")
