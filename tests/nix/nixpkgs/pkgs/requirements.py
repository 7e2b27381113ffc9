"""Compare what a wheel requires with what its derivation depends on: requirements.py WHEEL JSON REMOVED."""

import json
import re
import sys
import zipfile
from pathlib import Path

from packaging.metadata import parse_email
from packaging.requirements import Requirement


def plain(name: str) -> str:
    """Return a distribution's name in the one spelling that compares."""
    return re.sub(r"[-_.]+", "-", name).lower()


wheel = zipfile.ZipFile(sys.argv[1])
(metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
raw, _ = parse_email(wheel.read(metadata))
given = {plain(each["pname"]): each["version"] for each in json.loads(Path(sys.argv[2]).read_text())}
removed = {plain(name) for name in json.loads(sys.argv[3])}
wrong = []
for line in raw.get("requires_dist", []):
    wanted = Requirement(line)
    if (wanted.marker and not wanted.marker.evaluate({"extra": ""})) or plain(wanted.name) in removed:
        continue
    version = given.get(plain(wanted.name))
    if version is None:
        wrong.append(f"{wanted} not installed")
    elif version not in wanted.specifier:
        wrong.append(f"{wanted} not satisfied by version {version}")
sys.exit("Checking runtime dependencies:\n  - " + "\n  - ".join(wrong) if wrong else 0)
