"""Whether a VIP's gateway still answers: the proof that this node, and not another one, is cut off.

Only VIPs that have `gateway` are watched. One ARP request each `PROBE_NS` while it answers and while it
does not; any ARP of the gateway's counts as an answer. What follows is the controller's to decide: it
alone knows whether another node still reaches it.

| state | after | to |
|---|---|---|
| unknown | an answer | answers |
| unknown, answers | `UNANSWERED_MAX` requests in a row without an answer | silent |
| silent | an answer | answers |
"""

from ipaddress import IPv4Address
from typing import Final, Protocol

from haman.core.frozen import dataclass
from haman.core.words import Reason
from haman.engine.reporter import Reporter

PROBE_NS: Final = 1_000_000_000
UNANSWERED_MAX: Final = 3
Place = tuple[str, IPv4Address]


class Asks(Protocol):
    """What is needed of `Wires`."""

    def ask(self, interface: str, address: IPv4Address) -> None:
        """Send one ARP request."""


@dataclass(slots=True)
class _Gateway:
    next_ns: int
    unanswered: int = 0
    lost: Reason | None = None


class Gateways:
    """Those of all VIPs, each once for its interface. Nothing here waits."""

    def __init__(self, wires: Asks, reporter: Reporter) -> None:
        self._wires = wires
        self._reporter = reporter
        self._places: dict[str, Place] = {}
        self._gateways: dict[Place, _Gateway] = {}

    def configure(self, places: dict[str, Place], now_ns: int) -> None:
        """Watch exactly these, per VIP; what is known of one that stays is kept."""
        old = self._gateways
        self._places = places
        self._gateways = {p: old.get(p) or _Gateway(now_ns) for p in places.values()}

    @property
    def addresses(self) -> frozenset[IPv4Address]:
        """Whose ARP is to be heard."""
        return frozenset(address for _, address in self._gateways)

    def answered(self, interface: str, address: IPv4Address) -> None:
        """ARP of `address` came in."""
        gateway = self._gateways.get((interface, address))
        if gateway is None:
            return
        gateway.unanswered = 0
        if gateway.lost is not None:
            gateway.lost = None
            self._tell(
                "gateway-found", f"{address} answers again on {interface}", interface, address
            )

    def lost(self, vip: str) -> Reason | None:
        """Why the node is cut off from the gateway of a VIP; None = it is not, or nobody asked."""
        place = self._places.get(vip)
        return self._gateways[place].lost if place is not None else None

    @property
    def deadline_ns(self) -> int | None:
        """When `turn` is due at the latest."""
        return min((g.next_ns for g in self._gateways.values()), default=None)

    def turn(self, now_ns: int) -> None:
        """Ask, when it is time."""
        for (interface, address), gateway in self._gateways.items():
            if now_ns < gateway.next_ns:
                continue
            if gateway.unanswered >= UNANSWERED_MAX and gateway.lost is None:
                after_s = UNANSWERED_MAX * PROBE_NS // 1_000_000_000
                text = f"the gateway {address} has not answered on {interface} for {after_s} s"
                gateway.lost = Reason("gateway-lost", text, {"gateway": str(address)})
                self._tell("gateway-lost", text, interface, address)
            gateway.unanswered += 1
            gateway.next_ns = now_ns + PROBE_NS
            self._wires.ask(interface, address)

    def _tell(self, kind: str, text: str, interface: str, address: IPv4Address) -> None:
        for vip, place in self._places.items():
            if place == (interface, address):
                self._reporter.event(kind, text, service=vip)
