"""The engine's part in tails of anycast services: what the controller's orders mean here.

An order becomes one `Diversion` for each family of the service and each interface on which this node
speaks BGP, since that is where routers send clients' segments in. The other nodes must be on one of
those links: frames do not pass a router. Where they are not, the report says so, and nothing is done.
"""

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

from haman.config.model import Config
from haman.core.frozen import dataclass
from haman.core.handover.steering import LinkPlace, SteerOrder, SteerReport
from haman.core.words import Reason
from haman.engine.anycast_rules import Diversion
from haman.engine.claims import anycast_claims
from haman.engine.interfaces import Interfaces
from haman.engine.loop import Loop
from haman.engine.reporter import Reporter
from haman.engine.steering import SteeringChild


@dataclass(frozen=True, slots=True)
class _Hop:
    address: str = ""
    interface: str = ""


class Diversions:
    """All of them, at most one order for each service. Nothing here waits."""

    def __init__(self, loop: Loop, interfaces: Interfaces, reporter: Reporter) -> None:
        self._interfaces = interfaces
        self._child = SteeringChild(loop, reporter)
        self._reporter = reporter
        self._addresses: dict[str, dict[int, tuple[str, ...]]] = {}
        self._local: tuple[str, ...] = ()
        self._orders: dict[str, SteerOrder] = {}

    # ---- inputs --------------------------------------------------------------------------------

    def configure(self, config: Config, now_ns: int) -> None:
        """Have these services and BGP sessions."""
        found: dict[str, dict[int, tuple[str, ...]]] = {}
        for (service, family), claim in anycast_claims(config).items():
            texts = tuple(str(address.ip) for address in claim.addresses)
            found.setdefault(service, {})[family] = texts
        self._addresses = found
        neighbors = config.bgp.neighbor if config.bgp is not None else ()
        self._local = tuple(dict.fromkeys(str(ip_address(n.local_address)) for n in neighbors))
        self.declare(tuple(self._orders.values()), now_ns)

    def declare(self, orders: Iterable[SteerOrder], now_ns: int) -> None:
        """The controller's wish: every order that there shall be."""
        wanted = {order.service: order for order in orders if order.service in self._addresses}
        if wanted != self._orders:
            self._orders = wanted
            self._reporter.changed = True
        self.turn(now_ns)

    def stop(self, now_ns: int) -> None:
        """The engine ends: nothing is steered any more."""
        self.declare((), now_ns)

    def close(self) -> None:
        """End the process that keeps the rules."""
        self._child.stop()

    # ---- time ----------------------------------------------------------------------------------

    @property
    def deadline_ns(self) -> int | None:
        """When `turn` is due at the latest."""
        times = [self._child.deadline_ns, *(o.until_ns for o in self._orders.values())]
        return min((t for t in times if t is not None), default=None)

    def turn(self, now_ns: int) -> None:
        """End what has outlived its controller, and have the rules of all else."""
        for name in [n for n, order in self._orders.items() if now_ns >= order.until_ns]:
            text = f"the controller has not renewed the tail of {name}: nothing is steered any more"
            self._reporter.event("tail-expired", text, service=name)
            del self._orders[name]
            self._reporter.changed = True
        wanted: list[Diversion] = []
        for order in self._orders.values():
            found = self._diversions(order)
            wanted += () if isinstance(found, Reason) else found
        self._child.want(tuple(wanted), now_ns, warm=bool(self._orders))
        self._child.turn(now_ns)

    # ---- what comes of it ----------------------------------------------------------------------

    def reports(self) -> tuple[SteerReport, ...]:
        """How far each order is."""
        return tuple(map(self._report, self._orders.values()))

    def links(self) -> tuple[LinkPlace, ...]:
        """On which this node speaks BGP, now."""
        found = []
        for name in self._names():
            link = self._interfaces.link(name)
            if link is not None and link.up and any(link.mac):
                found.append(LinkPlace(link.mac.hex(":"), self._interfaces.addresses(name)))
        return tuple(found)

    def _names(self) -> tuple[str, ...]:
        names = (self._interfaces.bearer(address) for address in self._local)
        return tuple(dict.fromkeys(name for name in names if name))

    def _report(self, order: SteerOrder) -> SteerReport:
        found = self._diversions(order)
        if isinstance(found, Reason):
            return SteerReport(order, problem=found)
        states = [self._child.state(each) for each in found]
        counts = [s and s.connections for d, s in zip(found, states, strict=True) if d.counts]
        problem = next((s.problem for s in states if s is not None and s.problem), "")
        return SteerReport(
            order,
            ready=None not in states and not problem,
            problem=Reason("no-rules", problem) if problem else None,
            connections=sum(count or 0 for count in counts) if None not in counts else None,
            passed=sum(s.passed for s in states if s is not None),
        )

    def _diversions(self, order: SteerOrder) -> list[Diversion] | Reason:
        found, interfaces = [], self._names()
        if not interfaces:
            text = f"no BGP session of {order.service} has its local address on an interface here"
            return Reason("no-link", text)
        for family, addresses in self._addresses[order.service].items():
            to = self._hop(order.peer, order.places, family)
            after = self._hop(order.next, order.next_places, family)
            for hop in (to, after):
                if isinstance(hop, Reason):
                    return hop
            assert isinstance(to, _Hop)
            assert isinstance(after, _Hop)
            found += [
                Diversion(
                    service=order.service,
                    family=family,
                    interface=interface,
                    side=order.side,
                    addresses=addresses,
                    to=to.address,
                    out=to.interface,
                    next=after.address,
                    next_out=after.interface,
                    after=_macs(order.after),
                    others=_macs(order.others),
                    counts=interface == interfaces[0],
                    anew=order.anew,
                )
                for interface in interfaces
            ]
        return found

    def _hop(self, node: str, places: tuple[LinkPlace, ...], family: int) -> _Hop | Reason:
        if not node:
            return _Hop()
        texts = [text for place in places for text in place.addresses if _is_address(text)]
        for address in map(ip_address, texts):
            for name in self._names():
                if address.version == family and self._interfaces.on_link(name, address):
                    return _Hop(str(address), name)
        text = f"{node} shares no IPv{family} link with this node, and frames do not pass a router"
        return Reason("not-on-link", text, {"node": node})


def _macs(said: Iterable[str]) -> tuple[str, ...]:
    """Those that are any: another node's word becomes part of a command."""
    return tuple(mac for mac in said if _MAC.fullmatch(mac))


def _is_address(said: str) -> bool:
    try:
        return not ip_address(said).is_loopback and "%" not in said
    except ValueError:
        return False


_MAC: Final = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
