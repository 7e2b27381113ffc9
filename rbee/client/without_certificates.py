"""aiohttp, imported without what we never use of it.

On import it reads the system's certificates into a context of its own, 0.1 s that every command would pay. Ours is made
where a URL is https (``tls``), so here OpenSSL is told of an empty list while it looks.
"""

import os

_FILE, _FOLDER = "SSL_CERT_FILE", "SSL_CERT_DIR"
_before = {key: os.environ.get(key) for key in (_FILE, _FOLDER)}
os.environ |= {_FILE: os.devnull, _FOLDER: os.devnull}
try:
    import aiohttp
finally:
    for key, value in _before.items():
        if value is None:
            del os.environ[key]
        else:
            os.environ[key] = value

__all__ = ("aiohttp",)
