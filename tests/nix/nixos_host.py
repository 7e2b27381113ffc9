"""A rig host made into what a NixOS configuration says: its units, users, files in /etc and programs, and then booted.

The host stays Debian below: its own systemd, and no activation script. What NixOS puts in place before units start is
put in place here by tmpfiles, and where NixOS has the system's programs on everybody's PATH there are links.
"""

import shutil
from pathlib import Path
from typing import Any

from tests.nix import units
from tests.rig.host import Host

SYSTEM = "/run/current-system/sw"
TOKEN = "a-token-for-the-tests-of-nix"


def become(host: Host, toplevel: Any) -> None:
    """Lay the configuration on the host's disk and boot it."""
    (package,) = toplevel["packages"]
    root = host.root
    units.lay_out(toplevel, root / "etc/systemd/system")
    _write_users(host, toplevel)
    for name, file in toplevel["etc"].items():
        target = root / "etc" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.symlink_to(file["source"])
    for source in toplevel["tmpfilesPackages"]:
        for conf in Path(source, "lib/tmpfiles.d").iterdir():
            _copy(conf, root / "etc/tmpfiles.d" / conf.name)
    host.write("/etc/secret", f"{TOKEN}\n", mode=0o600)
    host.write(
        "/etc/tmpfiles.d/00-nixos.conf",
        f"d /run/current-system 0755 root root -\nL+ {SYSTEM} - - - - {package}\n"
        "d /run/secrets 0711 root root -\nC /run/secrets/rbee-token 0400 root root - /etc/secret\n",
    )
    programs = root / "usr/local/bin"
    programs.mkdir(parents=True, exist_ok=True)
    for program in Path(package, "bin").iterdir():
        if not program.name.startswith("."):
            (programs / program.name).unlink(missing_ok=True)
            (programs / program.name).symlink_to(f"{SYSTEM}/bin/{program.name}")
    host.reboot()


def _write_users(host: Host, toplevel: Any) -> None:
    lines = [f"g {name} -\n" for name in toplevel["groups"]]
    for name, user in toplevel["users"].items():
        if user["isSystemUser"]:
            lines.append(f'u {name} - "{user["description"]}" {user["home"]}\n')
            lines += [f"m {name} {group}\n" for group in user["extraGroups"]]
    host.write("/etc/sysusers.d/nixos.conf", "".join(lines))
    host.run(["systemd-sysusers"])


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
