"""TLS of a daemon, from two PEM files: ``tls_cert`` and ``tls_key``, or systemd credentials tls.crt and tls.key."""

import ssl
from collections.abc import Mapping
from pathlib import Path

from rbee.errors import ConfigInvalid


def context(cert: str, key: str, table: str, environ: Mapping[str, str]) -> ssl.SSLContext | None:
    """Return what serves https; None where no certificate is configured.

    Raises:
        ConfigInvalid: one of the two is missing, unreadable, readable by others, or not the other's.
    """
    pair = _files(cert, key, environ)
    if pair is None:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(made, *pair, table, environ)
    return made


def reload(made: ssl.SSLContext | None, cert: str, key: str, table: str, environ: Mapping[str, str]) -> None:
    """Let new connections have the certificate as it is in the files now. Raises ConfigInvalid."""
    pair = _files(cert, key, environ)
    if made is not None and pair is not None:
        _load(made, *pair, table, environ)


def _files(cert: str, key: str, environ: Mapping[str, str]) -> tuple[Path, Path] | None:
    if cert or key:
        if not (cert and key):
            missing = "tls_key" if cert else "tls_cert"
            raise ConfigInvalid(f"{missing} is missing: tls_cert and tls_key go together")
        return Path(cert), Path(key)
    directory = environ.get("CREDENTIALS_DIRECTORY")
    found = (Path(directory) / "tls.crt", Path(directory) / "tls.key") if directory else None
    return found if found is not None and found[0].exists() and found[0].stat().st_size else None


def _load(made: ssl.SSLContext, cert: Path, key: Path, table: str, environ: Mapping[str, str]) -> None:
    try:
        mode = key.stat().st_mode & 0o777
        directory = environ.get("CREDENTIALS_DIRECTORY")  # 0440 there, and only the service may enter it
        from_systemd = bool(directory) and key.is_relative_to(Path(str(directory)))
        if mode & 0o077 and not from_systemd:
            raise ConfigInvalid(f"{table}.tls_key {key} has mode {mode:04o}, expected 0600", hint=f"chmod 600 {key}")
        made.load_cert_chain(cert, key)
    except ssl.SSLError as error:
        why = "they do not belong together" if "MISMATCH" in str(error) else str(error.reason or error)
        raise ConfigInvalid(
            f"{table}.tls_cert {cert} and tls_key {key}: {why}", hint=f"openssl x509 -in {cert} -noout -text"
        ) from None
    except OSError as error:
        raise ConfigInvalid(f"{table}.tls_cert {cert} and tls_key {key}: {error.strerror}") from None
