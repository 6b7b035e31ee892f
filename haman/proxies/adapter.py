"""What every proxy adapter answers, and the adapter of each kind."""

from dataclasses import dataclass
from typing import Protocol

from haman.config.model import Proxy
from haman.proxies.answers import Answer, Unavailable
from haman.proxies.haproxy import HaproxySocket

SUPPORTED = ("haproxy", "process")


class Adapter(Protocol):
    """A proxy that can be asked for its counters."""

    @property
    def source(self) -> str:
        """What is asked, for messages: "the stats socket /run/haproxy/admin.sock"."""

    async def ask(self) -> Answer | Unavailable:
        """One bounded question; never raises for anything that the proxy does."""


@dataclass(frozen=True, slots=True)
class Sensed:
    """How a proxy is sensed.

    Attributes:
        adapter: None = by its processes alone: cpu and fds.
        problem: what the operator should know about that, "" if it is as configured.
    """

    adapter: Adapter | None
    problem: str = ""


def sensed_by(proxy: Proxy) -> Sensed:
    """The adapter for the configured proxy.

    A kind without an adapter is sensed like kind `process`: its death, its probe, cpu and fds are
    all there, so that a node can be gated on them; the controller says so in an alert.
    """
    if proxy.kind == "haproxy":
        if proxy.socket:
            return Sensed(HaproxySocket(proxy.socket))
        return Sensed(
            None, "proxy.socket is not set: tls and connections of haproxy cannot be sensed"
        )
    if proxy.kind in SUPPORTED:
        return Sensed(None)
    return Sensed(
        None,
        f"proxy.kind {proxy.kind} has no adapter in this version: it is sensed like kind process"
        " (cpu, fds, death and probe; no tls and connections)",
    )
