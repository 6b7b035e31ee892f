"""Where a proxy's admin interface is: an http URL, or a unix socket and a path on it."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from haman.core.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to ask.

    Attributes:
        path: of the unix socket; "" = TCP to `host` and `port`.
        target: the path of the URL, "" if none is given.
    """

    path: str = ""
    host: str = ""
    port: int = 0
    target: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def parse_endpoint(text: str) -> Endpoint:
    """Read "unix:/path/of.sock[:/uri]" or "http://127.0.0.1:9901[/uri]".

    Raises:
        ValueError: with what is wrong: names are not looked up, for a lookup may hang when it
            matters, and admin interfaces are asked without TLS.
    """
    if text.startswith("unix:/"):
        path, _, target = text.removeprefix("unix:").partition(":")
        return Endpoint(path=path, target=target)
    url = urlsplit(text)
    if url.scheme != "http":
        raise ValueError(f"{text}: only http:// and unix: are asked, not {url.scheme or 'this'}")
    host = "127.0.0.1" if url.hostname == "localhost" else url.hostname or ""
    try:
        ip_address(host)
    except ValueError:
        raise ValueError(f"{text}: write an IP address, names are not looked up") from None
    query = f"?{url.query}" if url.query else ""
    return Endpoint(host=host, port=url.port or 80, target=f"{url.path}{query}")
