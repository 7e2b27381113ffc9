"""What can go wrong in the rig, and the one way it runs programs on its own side."""

import subprocess


class RigError(Exception):
    """The rig cannot do what was asked; the message says why and what would help."""


class CommandError(RigError):
    """A program ended badly; the message carries all it said."""

    def __init__(self, where: str, done: subprocess.CompletedProcess[str]) -> None:
        self.returncode = done.returncode
        self.stdout = done.stdout
        self.stderr = done.stderr
        super().__init__(
            f"{where}: {done.args} ended with {done.returncode}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
        )


def call(*argv: str, check: bool = True) -> str:
    """Run a program in the rig's own namespaces; return its standard output."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)
    if check and done.returncode:
        raise CommandError("controller", done)
    return done.stdout
