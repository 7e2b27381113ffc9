"""The workers' bearer secrets: one small file each, read by systemd (LoadCredential=) and by the pool."""

import os
import secrets
import time
from collections.abc import Collection
from pathlib import Path

from rbee.errors import NotFound, NotPermitted

SECRET_BYTES = 32
STALE_S = 60.0


class Secrets:
    """A folder of secrets. In system mode tmpfiles makes it root's, with group rbee for whatever is put there.

    ``mode`` is that of the files; the broker may not change owners, so the group comes from the folder.
    """

    def __init__(self, folder: str, *, mode: int) -> None:
        self.folder = Path(folder)
        self._mode = mode

    def ensure(self, worker: str) -> bool:
        """Give ``worker`` a secret unless it has one; return whether it was made now.

        One that is there may belong to a worker that runs, and must not change under it.
        """
        self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        new = self.folder / f".{worker}.{secrets.token_hex(8)}"
        try:
            with open(new, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as stream:
                stream.write(secrets.token_hex(SECRET_BYTES))
                os.fchmod(stream.fileno(), self._mode)
            self._file(worker).hardlink_to(new)
        except FileExistsError:
            return False
        finally:
            new.unlink(missing_ok=True)
        return True

    def read(self, worker: str) -> str:
        """Return the secret.

        Raises:
            NotFound: there is none.
            NotPermitted: it is not for this user.
        """
        try:
            return self._file(worker).read_text(encoding="ascii")
        except FileNotFoundError:
            raise NotFound(f"worker {worker} has no secret", hint=f"rbee-hive worker stop {worker}") from None
        except PermissionError:
            raise NotPermitted(f"the secret of worker {worker} is not for uid {os.geteuid()}") from None

    def forget(self, worker: str) -> None:
        """Remove the secret, if there is one."""
        self._file(worker).unlink(missing_ok=True)

    def sweep(self, workers: Collection[str]) -> None:
        """Remove what drained workers left; a secret as young as this may be of a worker in the making."""
        for file in self.folder.glob("*.secret"):
            if file.stem not in workers and time.time() - file.stat().st_mtime > STALE_S:
                file.unlink(missing_ok=True)

    def _file(self, worker: str) -> Path:
        return self.folder / f"{worker}.secret"
