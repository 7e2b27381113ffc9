"""Where the parts of an installation go."""

import os
from dataclasses import dataclass
from pathlib import Path

from tools.run import CHECKOUT, ToolError

# Where programs of the operating system are looked for that units call: install of coreutils, and kill.
PROGRAMS = ("/usr/bin", "/bin", "/usr/local/bin")
# What systemd 252 and later search beside /etc: unit-files of any other prefix it would never see.
SEARCHED_PREFIXES = (Path("/usr"), Path("/usr/local"))
DEBIANS = Path("/opt/rbee")  # the environment of the Debian package


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Absolute paths as they are on the machine that rbee is for; ``destdir`` is where they are written to now.

    ``caches`` are the folders in which systemd makes one for each worker that keeps conversations, ``programs`` those
    that have what units call of the operating system.
    """

    venv: Path
    bin: Path
    share: Path
    config: Path
    units_from: Path
    units: Path
    sysusers: Path | None = None
    tmpfiles: Path | None = None
    caches: tuple[Path, ...] = ()
    zsh: str = "site-functions"
    destdir: Path = Path("/")
    programs: tuple[Path, ...] = tuple(map(Path, PROGRAMS))

    @property
    def manifest(self) -> Path:
        """The list of what was installed outside the venv; ``uninstall`` goes by it."""
        return self.venv / "installed-files"

    def program(self, name: str) -> Path:
        """Return where a program of the operating system is.

        Raises:
            ToolError: nowhere.
        """
        found = [folder / name for folder in self.programs if os.access(folder / name, os.X_OK)]
        if not found:
            raise ToolError(f"no {name} in {', '.join(map(str, self.programs))}, and rbee's units call it")
        return found[0]

    def real(self, path: Path) -> Path:
        """Return where ``path`` is written to now."""
        return self.destdir / path.relative_to("/")


def system(prefix: Path, destdir: Path) -> Layout:
    """Return the layout of ``make install``."""
    systemd = prefix / "lib" if prefix in SEARCHED_PREFIXES else Path("/etc")
    return Layout(
        venv=prefix / "lib" / "rbee",
        bin=prefix / "bin",
        share=prefix / "share",
        config=Path("/etc/rbee/rbee.toml"),
        units_from=CHECKOUT / "units" / "system",
        units=systemd / "systemd" / "system",
        sysusers=systemd / "sysusers.d" / "rbee.conf",
        tmpfiles=systemd / "tmpfiles.d" / "rbee.conf",
        caches=(Path("/var/cache/private"), Path("/var/cache")),
        destdir=destdir,
    )


def deb(units: Path, destdir: Path) -> Layout:
    """Return the layout of the Debian package; ``units`` is where its release keeps units of packages.

    The configuration is not here: debian/postinst makes /etc/rbee/rbee.toml, of debian/rbee.toml, where there is none.
    """
    return Layout(
        venv=DEBIANS,
        bin=Path("/usr/bin"),
        share=Path("/usr/share"),
        config=Path("/usr/share/doc/rbee/examples/rbee.toml"),
        units_from=CHECKOUT / "units" / "system",
        units=units,
        sysusers=Path("/usr/lib/sysusers.d/rbee.conf"),
        tmpfiles=Path("/usr/lib/tmpfiles.d/rbee.conf"),
        zsh="vendor-completions",
        destdir=destdir,
    )


def user(home: Path) -> Layout:
    """Return the layout of ``make install-user``."""
    share = home / ".local" / "share"
    return Layout(
        venv=share / "rbee" / "venv",
        bin=home / ".local" / "bin",
        share=share,
        config=home / ".config" / "rbee" / "rbee.toml",
        units_from=CHECKOUT / "units" / "user",
        units=share / "systemd" / "user",
        caches=_caches(home),
    )


def _caches(home: Path) -> tuple[Path, ...]:
    """Return where a user's manager may have made them: it was started with another environment than ours, perhaps."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (home / ".cache", *([named] if named.is_absolute() else []))


def packaged(out: Path, programs: Path) -> tuple[Layout, Layout]:
    """Return the layouts of a package that has a prefix to itself, as Nix makes it: for the system, and for a user."""
    share, lib = out / "share", out / "lib"

    def place(manager: str, *, sysusers: Path | None = None, tmpfiles: Path | None = None) -> Layout:
        return Layout(
            venv=out,
            bin=out / "bin",
            share=share,
            config=share / "rbee" / "rbee.toml",
            units_from=CHECKOUT / "units" / manager,
            units=lib / "systemd" / manager,
            sysusers=sysusers,
            tmpfiles=tmpfiles,
            programs=(programs,),
        )

    system = place("system", sysusers=lib / "sysusers.d" / "rbee.conf", tmpfiles=lib / "tmpfiles.d" / "rbee.conf")
    return system, place("user")


def private(directory: Path) -> Layout:
    """Return the layout of ``make demo``: all of it in one directory, which can simply be removed."""
    return Layout(
        venv=directory / "venv",
        bin=directory / "bin",
        share=directory / "share",
        config=directory / "rbee.toml",
        units_from=CHECKOUT / "units" / "user",
        units=directory / "units",
    )
