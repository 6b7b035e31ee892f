"""aiohttp's server, loaded without the certificates of its client.

aiohttp makes a TLS context for its client when it is loaded, and OpenSSL reads every certificate that the host
trusts for it: 50 ms of a core where they are one file (`cert.pem`). The API asks nobody anything.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

TRUSTED: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Where OpenSSL looks for certificates; SSL_CTX_set_default_verify_paths(3)."""


@contextmanager
def trusting_nobody() -> Iterator[None]:
    """What OpenSSL is asked for meanwhile, it finds no certificates for."""
    before = {name: os.environ.get(name) for name in TRUSTED}
    os.environ.update(dict.fromkeys(TRUSTED, os.devnull))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


with trusting_nobody():
    from aiohttp import web

__all__ = ["web"]
