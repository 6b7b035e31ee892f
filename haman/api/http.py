"""aiohttp's server, loaded without its client.

For the API, which asks nobody anything, the client is 50 ms of a core, and another 50 where OpenSSL reads the
certificates that the host trusts.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web as web  # noqa: PLC0414 - it is exported
else:
    from haman.system.unopened import load

    # With a version that the server would name itself by.
    (web,) = load("aiohttp", "web", __version__="")
