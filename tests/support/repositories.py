"""Real git repositories: a bare origin, somebody who pushes to it, and a clone with a submodule."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_AUTHOR_NAME": "Ann",
    "GIT_AUTHOR_EMAIL": "ann@home.arpa",
    "GIT_COMMITTER_NAME": "Ann",
    "GIT_COMMITTER_EMAIL": "ann@home.arpa",
    # Submodules by path, which git allows nobody by itself since CVE-2022-39253.
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "protocol.file.allow",
    "GIT_CONFIG_VALUE_0": "always",
}


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *words],
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@dataclass(frozen=True)
class House:
    """``clone`` follows ``origin``; what ``author`` pushes is what there is to pull; ``lib`` is a submodule."""

    origin: Path
    author: Path
    clone: Path
    lib: Path

    def push(self, file: str = "flake.nix", text: str = "new\n", subject: str = "A change") -> str:
        """Have the author push a commit; return it."""
        path = self.author / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        git(self.author, "add", "-A")
        git(self.author, "commit", "-qm", subject)
        git(self.author, "push", "-q")
        return git(self.author, "rev-parse", "HEAD")

    def push_lib(self) -> str:
        """Have the submodule get a commit, and the house ask for it."""
        (self.lib / "lib.nix").write_text("newer\n")
        git(self.lib, "commit", "-qam", "A newer lib")
        git(self.author / "lib", "pull", "-q", str(self.lib), "main")
        return self.push("flake.lock", "lib moved\n", "Take the newer lib")


def house(folder: Path) -> House:
    lib, origin, author, clone = (folder / name for name in ("lib", "origin.git", "author", "clone"))
    lib.mkdir()
    git(lib, "init", "-qb", "main")
    (lib / "lib.nix").write_text("lib\n")
    git(lib, "add", "-A")
    git(lib, "commit", "-qm", "A lib")
    origin.mkdir()
    git(origin, "init", "-qb", "main", "--bare")
    git(folder, "clone", "-q", str(origin), str(author))
    git(author, "switch", "-qc", "main")
    (author / "flake.nix").write_text("old\n")
    (author / ".gitignore").write_text("result\n")
    git(author, "submodule", "--quiet", "add", str(lib), "lib")
    git(author, "add", "-A")
    git(author, "commit", "-qm", "The house")
    git(author, "push", "-qu", "origin", "main")
    git(folder, "clone", "-q", "--recurse-submodules", str(origin), str(clone))
    return House(origin, author, clone, lib)
