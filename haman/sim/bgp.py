"""ExaBGP with its relay on a host, and the routers that hear it, modelled.

The relay acknowledges what it was told after a while, and leases it: a controller that is silent
has its routes shut, then withdrawn. A router takes 60 ms and more to follow (measured), and loses the
routes of a host that it does not hear: soon by BFD, at the latest by the hold time.
"""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Final

from haman.core.announcements import Announcement
from haman.core.words import Stance
from haman.sim.loop import Loop
from haman.sim.network import BGP, NS_PER_MS, Network
from haman.sim.plans import NS_PER_S
from haman.sim.process import Process

ROUTER: Final = "router"
ACK_LEAST_NS, ACK_SPREAD_NS = 2 * NS_PER_MS, 20 * NS_PER_MS
CONVERGE_LEAST_NS, CONVERGE_SPREAD_NS = 40 * NS_PER_MS, 120 * NS_PER_MS
SHUT_NS, WITHDRAW_NS = 10 * NS_PER_S, 60 * NS_PER_S
"""The defaults of `[bgp]`: after the controller's last word."""
SESSION_UP_NS: Final = 3 * NS_PER_S
"""From a path that works again to a session: ExaBGP's and the router's patience."""
DETECT_NS: Final = 300 * NS_PER_MS
"""BFD with the defaults."""


@dataclass(frozen=True, slots=True)
class Route:
    """What a router holds of one host for one service."""

    stance: Stance
    weight: int


class Relay:
    """The relay of one host, and its session with the routers."""

    def __init__(
        self,
        host: str,
        *,
        loop: Loop,
        random: Random,
        process: Process,
        routers: "Routers",
        changed: Callable[[], None],
    ) -> None:
        self._host = host
        self._loop = loop
        self._random = random
        self._process = process
        self._routers = routers
        self._changed = changed
        self.announced: tuple[Announcement, ...] = ()
        """Acknowledged."""
        self._renewed_ns = 0
        self._told: tuple[Announcement, ...] = ()

    def start(self) -> None:
        """Begin anew, with nothing announced."""
        self.announced = self._told = ()
        self._renewed_ns = self._loop.now_ns
        self._process.start()
        self._process.soon(NS_PER_S, self._look_at_lease)
        self._loop.after(SESSION_UP_NS, lambda: self._routers.look(self._host))

    def end(self) -> None:
        """It dies, and the session with it."""
        self._process.die()
        self._routers.look(self._host)

    @property
    def alive(self) -> bool:
        """A session is possible."""
        return self._process.running

    def declare(self, wanted: tuple[Announcement, ...]) -> None:
        """Have exactly this announced."""
        self._renewed_ns = self._loop.now_ns
        if wanted == self._told:
            return
        self._told = wanted
        delay_ns = ACK_LEAST_NS + int(self._random.random() * ACK_SPREAD_NS)
        self._process.soon(delay_ns, lambda: self._acknowledge(wanted))

    def _acknowledge(self, wanted: tuple[Announcement, ...]) -> None:
        if wanted is not self._told or wanted == self.announced:
            return
        self.announced = wanted
        self._routers.look(self._host)
        self._changed()

    def _look_at_lease(self) -> None:
        silent_ns = self._loop.now_ns - self._renewed_ns
        if silent_ns >= WITHDRAW_NS:
            self._lapse(())
        elif silent_ns >= SHUT_NS:
            self._lapse(
                tuple(
                    Announcement(a.service, a.prefixes, shut=True, weight=a.weight)
                    for a in self.announced
                )
            )
        self._process.soon(NS_PER_S, self._look_at_lease)

    def _lapse(self, left: tuple[Announcement, ...]) -> None:
        if left != self.announced:
            self._told = left
            self._acknowledge(left)


class Routers:
    """All routers as one: what it holds of every host, and whether a session is up."""

    def __init__(self, loop: Loop, random: Random, network: Network) -> None:
        self._loop = loop
        self._random = random
        self._network = network
        self._relays: dict[str, Relay] = {}
        self._reachable: Callable[[str], bool] = lambda _: True
        self._up: dict[str, bool] = {}
        self.routes: dict[str, dict[str, Route]] = {}
        """By service and host."""
        self.changed: Callable[[str, str, Route | None, Route | None], None] = lambda *_: None
        """Told of each change of a route: service, host, before, after."""
        self._ranges: dict[str, tuple[list[float], list[str]]] = {}
        self.session_changed: Callable[[str], None] = lambda _: None

    def attach(self, relays: dict[str, Relay], reachable: Callable[[str], bool]) -> None:
        """Whom to hear; once."""
        self._relays, self._reachable = relays, reachable
        for host in relays:
            self._loop.after(SESSION_UP_NS, lambda host=host: self.look(host))  # type: ignore[misc]

    def is_up(self, host: str) -> bool:
        """Whether the session with a host is up."""
        return self._up.get(host, False)

    def _hears(self, host: str) -> bool:
        relay = self._relays[host]
        return relay.alive and self._reachable(host) and self._network.joined(BGP, host, ROUTER)

    def look(self, host: str) -> None:
        """Something about a host may have changed: follow in a while."""
        if self._hears(host):
            if not self.is_up(host):
                self._loop.after(SESSION_UP_NS, lambda: self._come_up(host))
            delay_ns = CONVERGE_LEAST_NS + int(self._random.random() * CONVERGE_SPREAD_NS)
            self._loop.after(delay_ns, lambda: self._take(host))
        else:
            self._loop.after(DETECT_NS, lambda: self._go_down(host))

    def _come_up(self, host: str) -> None:
        if self._hears(host) and not self.is_up(host):
            self._up[host] = True
            self.session_changed(host)
            self._take(host)

    def _go_down(self, host: str) -> None:
        if self._hears(host):
            return
        if self.is_up(host):
            self._up[host] = False
            self.session_changed(host)
        self._hold(host, {})

    def _take(self, host: str) -> None:
        if not self.is_up(host):
            return
        found = {
            a.service: Route(Stance.SHUT if a.shut else Stance.FULL, a.weight or 0)
            for a in self._relays[host].announced
        }
        self._hold(host, found)

    def _hold(self, host: str, found: dict[str, Route]) -> None:
        for service in {*self.routes, *found}:
            routes = self.routes.setdefault(service, {})
            before, after = routes.get(host), found.get(service)
            if before == after:
                continue
            if after is None:
                del routes[host]
            else:
                routes[host] = after
            self._ranges.pop(service, None)
            self.changed(service, host, before, after)

    def shares(self, service: str) -> dict[str, float]:
        """To whom new clients of a service are sent, and what part of them."""
        routes = self.routes.get(service, {})
        serving = {h: r.weight for h, r in routes.items() if r.stance is not Stance.SHUT}
        heard = serving or {h: r.weight for h, r in routes.items()}
        total = sum(heard.values())
        return {host: weight / total for host, weight in heard.items()} if total else {}

    def next_hop(self, service: str, point: float) -> str:
        """Where a router's hash sends a connection, `point` from 0 to 1; "" = nowhere.

        By thresholds: next hops lie in order, each with a range as wide as its part.
        """
        found = self._ranges.get(service)
        if found is None:
            shares = sorted(self.shares(service).items())
            found = (list(accumulate(s for _, s in shares)), [host for host, _ in shares])
            self._ranges[service] = found
        bounds, hosts = found
        return hosts[min(bisect_right(bounds, point), len(hosts) - 1)] if hosts else ""
