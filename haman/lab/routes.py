"""Where a router sends the anycast prefixes, when: what its kernel says, on the drill's clock.

The route notifications (rtnetlink(7), RTNLGRP_IPV4_ROUTE and RTNLGRP_IPV6_ROUTE) of the router's
namespace are an oracle outside of BGP: what the kernel does is what clients get. A route that refers to a
nexthop object is notified with its gateways too (ip-sysctl: nexthop_compat_mode, on by default).
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pyroute2.netlink.rtnl.rtmsg import rtmsg

from haman.lab import kernel
from haman.lab.listening import Listener, dump, messages
from haman.lab.paths import Hop, Route, RouteChanged
from haman.lab.services import Services

RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE = 0x40, 0x400
NLM_F_APPEND = 0x800
ANY_ROUTE = bytes(12)
MAIN_TABLE = 254
FLOOR_PROTOCOLS = {4, 196}
"""Who installed a route: RTPROT_STATIC and RTPROT_ZSTATIC. BIRD marks all it installs as its own."""
ANY = {2: "0.0.0.0", 10: "::"}


@dataclass(frozen=True, slots=True)
class _Notice:
    """One message about a route of the main table."""

    added: bool
    appended: bool
    prefix: str
    metric: int
    route: Route


def routes_now(pid: int, services: Services) -> Mapping[str, Route]:
    """What the router whose process 1 is `pid` does with each anycast prefix."""
    table = _Table(services)
    with kernel.in_netns(pid, lambda: kernel.netlink_socket(0)) as route:
        for data in dump(route, RTM_GETROUTE, ANY_ROUTE):
            for notice in _notices(data, services):
                table.take(notice)
    return {prefix: table.best(prefix) for prefix in table.prefixes}


class Watch(Listener):
    """Listens to a router from `start` to `stop`; `changes` holds what it heard, in order."""

    def __init__(self, pid: int, services: Services) -> None:
        groups = RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE
        super().__init__({services.router: pid}, groups, "routes")
        self.changes: list[RouteChanged] = []
        self._pid = pid
        self._services = services
        self._table = _Table(services)

    def start(self) -> None:
        """Take the present state down as the first changes, and listen."""
        now = time.monotonic_ns()
        with kernel.in_netns(self._pid, lambda: kernel.netlink_socket(0)) as route:
            for data in dump(route, RTM_GETROUTE, ANY_ROUTE):
                for notice in _notices(data, self._services):
                    self._table.take(notice)
        for prefix in self._table.prefixes:
            self.changes.append(RouteChanged(now, prefix, self._table.best(prefix)))
        self.listen()

    def stop(self) -> list[RouteChanged]:
        """End listening; everything heard."""
        self.end()
        return self.changes

    def hear(self, node: str, data: bytes, now_ns: int) -> None:
        """Note what the kernel does now."""
        del node
        for notice in _notices(data, self._services):
            before = self._table.best(notice.prefix)
            self._table.take(notice)
            after = self._table.best(notice.prefix)
            if after != before:
                self.changes.append(RouteChanged(now_ns, notice.prefix, after))


class _Table:
    """The routes to each prefix by metric; the kernel uses the one with the lowest."""

    def __init__(self, services: Services) -> None:
        self.prefixes = [prefix for anycast in services.anycasts for prefix in anycast.prefixes]
        self._routes: dict[str, dict[int, Route]] = {prefix: {} for prefix in self.prefixes}

    def best(self, prefix: str) -> Route:
        routes = self._routes[prefix]
        return routes[min(routes)] if routes else Route()

    def take(self, notice: _Notice) -> None:
        routes = self._routes[notice.prefix]
        if notice.added:
            known = routes.get(notice.metric, Route()) if notice.appended else Route()
            hops = {hop.node: hop for hop in (*known.hops, *notice.route.hops)}
            routes[notice.metric] = Route(tuple(sorted(hops.values())), notice.route.floor)
        elif notice.metric in routes:
            gone = {hop.node for hop in notice.route.hops}
            left = tuple(hop for hop in routes[notice.metric].hops if hop.node not in gone)
            del routes[notice.metric]
            if left and notice.route.hops:
                routes[notice.metric] = Route(left, notice.route.floor)


def _notices(data: bytes, services: Services) -> Iterator[_Notice]:
    prefixes = {prefix for anycast in services.anycasts for prefix in anycast.prefixes}
    for kind, flags, body in messages(data):
        if kind not in {RTM_NEWROUTE, RTM_DELROUTE}:
            continue
        message = rtmsg(body)
        message.decode()
        destination = message.get_attr("RTA_DST") or ANY.get(message["family"])
        prefix = f"{destination}/{message['dst_len']}"
        if message["table"] != MAIN_TABLE or prefix not in prefixes:
            continue
        yield _Notice(
            kind == RTM_NEWROUTE,
            bool(flags & NLM_F_APPEND),
            prefix,
            message.get_attr("RTA_PRIORITY") or 0,
            Route(tuple(sorted(_hops(message, services))), message["proto"] in FLOOR_PROTOCOLS),
        )


def _hops(message: rtmsg, services: Services) -> Iterator[Hop]:
    paths = message.get_attr("RTA_MULTIPATH") or [message]
    for path in paths:
        gateway = path.get_attr("RTA_GATEWAY")
        if gateway:
            weight = path["hops"] + 1 if path is not message else 1
            yield Hop(services.next_hops.get(gateway, gateway), weight)
