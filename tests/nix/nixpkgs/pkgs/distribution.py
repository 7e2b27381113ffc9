"""Link one distribution out of a folder that holds many: distribution.py PACKAGES NAME TARGET. None is no mistake."""

import csv
import re
import sys
from pathlib import Path

packages, name, target = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
for info in packages.glob("*.dist-info"):
    if re.sub(r"[-_.]+", "-", info.stem.rpartition("-")[0]).lower() == name:
        rows = csv.reader((info / "RECORD").read_text().splitlines())
        for top in {row[0].split("/")[0] for row in rows} - {"..", "__pycache__"}:
            (target / top).symlink_to(packages / top)
for info in packages.glob("*.egg-info"):
    if info.name.partition("-")[0].replace("_", "-") == name:
        for top in (info.name, *(info / "top_level.txt").read_text().split()):
            (target / top).symlink_to(packages / top)
