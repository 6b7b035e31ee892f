"""What every proxy adapter answers, and the adapter of each kind."""

from typing import Protocol

from haman.config.endpoint import Endpoint, parse_endpoint
from haman.config.model import Proxy
from haman.core.frozen import dataclass
from haman.proxies.answers import Answer, Unavailable
from haman.proxies.caddy import CaddyAdmin
from haman.proxies.envoy import EnvoyAdmin
from haman.proxies.haproxy import HaproxySocket
from haman.proxies.haproxy_workers import HaproxyWorkers
from haman.proxies.nginx import Calls, NginxStatus
from haman.proxies.process import ProcessSet, ProcessTable

HANDSHAKE_CALLS = {"SSL_new": "libssl", "EVP_DigestSign": "libcrypto"}
"""Functions whose calls tell handshakes, and the beginning of the name of their library."""


class Adapter(Protocol):
    """A proxy that can be asked for its counters."""

    @property
    def source(self) -> str:
        """What is asked, for messages: "the stats socket /run/haproxy/admin.sock"."""

    @property
    def interval_s(self) -> float:
        """The least time between two questions that this proxy should be asked; 0 = any."""

    async def ask(self) -> Answer | Unavailable:
        """One bounded question; never raises for anything that the proxy does."""

    async def close(self) -> None:
        """Give back what is kept between questions."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an adapter may look at beside the proxy's own answers.

    Attributes:
        processes: of the proxy.
        table: the kernel's.
        calls: counts calls of library functions.
    """

    processes: ProcessSet
    table: ProcessTable
    calls: Calls


@dataclass(frozen=True, slots=True)
class Sensed:
    """How a proxy is sensed.

    Attributes:
        adapter: None = by its processes alone: cpu and fds.
        problem: what the operator should know about that, "" if it is as configured.
    """

    adapter: Adapter | None
    problem: str = ""


ASKED_BY = {"haproxy": "socket", "nginx": "status", "envoy": "admin", "caddy": "admin"}
"""By kind, the key of `[proxy]` that says where the proxy is asked; `process` is never asked."""


def sensed_by(proxy: Proxy, around: Surroundings) -> Sensed:
    """The adapter for the configured proxy.

    Without a place to ask, every kind is sensed like kind `process`: its death, its probe, cpu and
    fds are all there, so that a node can be gated on them; the controller says so in an alert.
    """
    key = ASKED_BY.get(proxy.kind)
    if key is None:
        return Sensed(None)
    where = getattr(proxy, key)
    if not where:
        return Sensed(
            None,
            f"proxy.{key} is not set: {proxy.kind} cannot be asked, and is sensed like kind process"
            " (cpu, fds, death and probe; no tls and connections)",
        )
    if proxy.kind == "haproxy":
        return Sensed(HaproxyWorkers(HaproxySocket(where), around.processes, around.table))
    try:
        return Sensed(_over_http(proxy.kind, parse_endpoint(where), around))
    except ValueError as error:
        return Sensed(None, f"proxy.{key}: {error}; {proxy.kind} is sensed like kind process")


def _over_http(kind: str, endpoint: Endpoint, around: Surroundings) -> Adapter:
    if kind == "nginx":
        return NginxStatus(endpoint, around.processes, around.table, around.calls)
    return EnvoyAdmin(endpoint) if kind == "envoy" else CaddyAdmin(endpoint)
