"""Whom a client of https believes."""

import functools
import ssl

from rbee.errors import ConfigInvalid


@functools.lru_cache(maxsize=8)
def context(ca_file: str) -> ssl.SSLContext:
    """Return what checks a server: against ``ca_file`` alone where one is named, else against the system's own list.

    Raises:
        ConfigInvalid: the file is not there, or holds no certificate.
    """
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise ConfigInvalid(
            f"tls_ca is {ca_file}: {said}", hint="name a PEM file of who signed the certificate"
        ) from None
