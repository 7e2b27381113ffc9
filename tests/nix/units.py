"""The units of a NixOS host in one folder: those of packages, with the drop-ins that its configuration makes."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WANTED = re.compile(r"^WantedBy=(.+)$", re.MULTILINE)
SYSTEM_UNITS = Path("/lib/systemd/system")


def lay_out(toplevel: Any, folder: Path) -> Path:
    """Write the units of an evaluated host as NixOS lays them out in /etc/systemd/system; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    shipped = [unit for package in toplevel["unitPackages"] for unit in Path(package, "lib/systemd/system").iterdir()]
    for unit in shipped:
        shutil.copyfile(unit, folder / unit.name)
    names = {unit.name for unit in shipped}
    for name, unit in toplevel["units"].items():
        if not unit["enable"]:
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to("/dev/null")
            continue
        target = folder / f"{name}.d" / "overrides.conf" if name in names else folder / name
        target.parent.mkdir(exist_ok=True)
        target.write_text(unit["text"])
        for by in [by for line in WANTED.findall(unit["text"]) for by in line.split()]:
            wants = folder / f"{by}.wants"
            wants.mkdir(exist_ok=True)
            (wants / name).symlink_to(f"../{name}")
    return folder


def verify(folder: Path, names: Sequence[str] = ()) -> str:
    """Return what systemd has to complain of; nothing when all is well."""
    files = [folder / name for name in names] or sorted(
        path for path in folder.iterdir() if path.suffix in (".service", ".socket", ".slice") and not path.is_symlink()
    )
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *files],
        capture_output=True,
        text=True,
        check=False,
        env={"SYSTEMD_UNIT_PATH": f"{folder}:{SYSTEM_UNITS}", "PATH": "/usr/bin:/bin"},
    )
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"exit {done.returncode}")


def exposure(folder: Path, service: str, at_most: int) -> str:
    """Return how a service is exposed, when it is more than it may be; drop-ins count."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={at_most}", folder / service],
        capture_output=True,
        text=True,
        check=False,
        env={"SYSTEMD_UNIT_PATH": f"{folder}:{SYSTEM_UNITS}", "PATH": "/usr/bin:/bin"},
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr
