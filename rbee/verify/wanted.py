"""What a run is told beside the host: whom to ask here, and which version should be there."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rbee import __version__
from rbee.config import read_token


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """``queen`` empty: she is asked from the host only. ``token_file`` empty: the user's or the system's own."""

    queen: str = ""
    token_file: str = ""
    tls_ca: str = ""
    version: str = __version__

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Return what RBEE_VERIFY_QUEEN, …_TOKEN_FILE, …_TLS_CA and …_VERSION say: for plain pytest."""
        return cls(
            queen=environ.get("RBEE_VERIFY_QUEEN", ""),
            token_file=environ.get("RBEE_VERIFY_TOKEN_FILE", ""),
            tls_ca=environ.get("RBEE_VERIFY_TLS_CA", ""),
            version=environ.get("RBEE_VERIFY_VERSION", __version__),
        )

    def token(self) -> str:
        """Return the token to present; empty when there is none.

        Raises:
            ConfigInvalid: the file cannot be read, or may be read by others.
        """
        own = {name: value for name, value in os.environ.items() if name != "CREDENTIALS_DIRECTORY"}
        return next(iter(read_token(str(Path(self.token_file)) if self.token_file else "", environ=own)), "")
