"""nix and nixos-rebuild on this machine."""

import os
import re
import shlex
import shutil
from collections.abc import Sequence
from typing import Any

from rbee.adapters import process
from rbee.adapters.nixos import argv
from rbee.adapters.nixos.argv import Target
from rbee.adapters.nixos.flake import CONFIGURATIONS, Flake
from rbee.adapters.process import ProgramFailed
from rbee.errors import ConfigInvalid, NotFound
from rbee.wire import codec

EVALUATE_S = 1800.0  # of a large system, on a slow disk, with inputs that are fetched first
_MISSING = "does not provide attribute"
_SHOWN = 600
_COMPLAINT = re.compile(r"^(?:error|warning): .*", re.MULTILINE)


def have_rebuild() -> bool:
    """Say whether there is nixos-rebuild, which Nix elsewhere than on NixOS comes without."""
    return shutil.which("nixos-rebuild") is not None


def require_flake(flake: Flake) -> None:
    """Refuse a folder in which no flake is; nix looks further up, too.

    Raises:
        NotFound: names the folder.
    """
    folder = flake.folder
    if folder is None or any((each / "flake.nix").is_file() for each in (folder, *folder.parents)):
        return
    problem = "there is no flake.nix in it" if folder.is_dir() else "there is no such folder"
    raise NotFound(f"no flake at {folder}: {problem}", hint="name the one that has your hosts with --flake")


async def require_pool(flake: Flake, host: str) -> None:
    """Refuse a configuration without rbee's pool: a wrong host is the usual error.

    Raises:
        NotFound: there is no such configuration.
        ConfigInvalid: it cannot be evaluated, or makes no pool of its host.
    """
    name = flake.name_of(host)
    enabled = await _asked(flake, host, "services", "rbee", "pool", "enable")
    if enabled is not True:
        raise ConfigInvalid(
            f"{CONFIGURATIONS}.{name} of {flake.url} has services.rbee.pool.enable = {codec.dump_json(enabled)}",
            hint=f"set services.rbee.pool.enable = true; in it, if {host} is meant",
        )


async def toplevel(flake: Flake, host: str) -> str:
    """Return the path that the system has once it is built.

    Raises:
        ConfigInvalid: it cannot be evaluated.
    """
    found = await _asked(flake, host, "system", "build", "toplevel", "outPath")
    if not isinstance(found, str) or not found.startswith("/"):
        raise ConfigInvalid(f"{CONFIGURATIONS}.{flake.name_of(host)} of {flake.url} is no system: {found!r}")
    return found


async def told(words: Sequence[str], target: Target, tell: process.Tell) -> None:
    """Run ``words`` and ``tell`` what they say; their ssh goes as ours does.

    Raises:
        ProgramFailed: with what they complained of last; what comes last of all is often how far a copy is.
    """
    done = await process.told(words, tell, leash=False, env=target.environ(os.environ))
    if done.returncode != 0:
        complaints = _COMPLAINT.findall(f"{done.stdout}\n{done.stderr}")
        raise ProgramFailed(
            f"{words[0]} {words[1]} exited {done.returncode}{f': {complaints[-1]}' if complaints else ''}",
            details={**process.failed(done).details, "stdout": done.stdout},
        )


async def _asked(flake: Flake, host: str, *path: str) -> Any:
    done = await process.run(argv.evaluate(flake.inside(host, *path)), timeout_s=EVALUATE_S, check=False)
    if done.returncode != 0 and _MISSING in done.stderr:
        raise await _missing(flake, host, path)
    if done.returncode != 0:
        raise ConfigInvalid(
            f"{CONFIGURATIONS}.{flake.name_of(host)} of {flake.url} cannot be evaluated: {_error(done)}",
            hint=shlex.join([*argv.evaluate(flake.inside(host, *path)), "--show-trace"]),
        )
    return codec.parse_json(done.stdout.encode())


async def _missing(flake: Flake, host: str, path: Sequence[str]) -> NotFound | ConfigInvalid:
    name = flake.name_of(host)
    done = await process.run(argv.names(flake), timeout_s=EVALUATE_S, check=False)
    there = codec.parse_json(done.stdout.encode()) if done.returncode == 0 else []
    if name in there:
        return ConfigInvalid(
            f"{CONFIGURATIONS}.{name} of {flake.url} has no {'.'.join(path)}",
            hint="import rbee.nixosModules.default in it, with services.rbee.pool.enable = true;",
        )
    return NotFound(
        f"no {name} in {CONFIGURATIONS} of {flake.url}; there are: {', '.join(there) or 'none'}",
        hint=f"one that is called otherwise: --flake {flake.url}#NAME",
        details={"configurations": there},
    )


def _error(done: process.Completed) -> str:
    """Return nix's own words: what follows its last ``error:``, after all that it was doing meanwhile."""
    said = " ".join(done.stderr.rpartition("error:")[2].split())
    return said[:_SHOWN] or f"nix exited {done.returncode}"
