"""Where routers send the anycast prefixes, when: what their kernels say, on the drill's clock.

The route notifications (rtnetlink(7), RTNLGRP_IPV4_ROUTE and RTNLGRP_IPV6_ROUTE) of each router's
namespace are an oracle outside of BGP: what the kernel does is what clients get. A route that refers to a
nexthop object is notified with its gateways too (ip-sysctl: nexthop_compat_mode, on by default).
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from haman.lab import kernel
from haman.lab.listening import Listener, dump, messages
from haman.lab.paths import Hop, Route, RouteChanged
from haman.lab.rtnl import rtmsg
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


def routes_now(pids: Mapping[str, int], services: Services) -> Mapping[str, Route]:
    """What the routers whose processes 1 are `pids` do with each anycast prefix, taken together."""
    tables = _Tables(services)
    for router, pid in pids.items():
        tables.read(router, pid)
    return {prefix: tables.best(prefix) for prefix in tables.prefixes}


class Watch(Listener):
    """Listens to routers from `start` to `stop`; `changes` holds what it heard, in order."""

    def __init__(self, pids: Mapping[str, int], services: Services) -> None:
        super().__init__(pids, RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE, "routes")
        self.changes: list[RouteChanged] = []
        self._pids = pids
        self._tables = _Tables(services)

    def start(self) -> None:
        """Take the present state down as the first changes, and listen."""
        now = time.monotonic_ns()
        for router, pid in self._pids.items():
            self._tables.read(router, pid)
        for prefix in self._tables.prefixes:
            self.changes.append(RouteChanged(now, prefix, self._tables.best(prefix)))
        self.listen()

    def stop(self) -> list[RouteChanged]:
        """End listening; everything heard."""
        self.end()
        return self.changes

    def hear(self, node: str, data: bytes, now_ns: int) -> None:
        """Note what the kernel does now."""
        for notice in _notices(data, self._tables.services):
            before = self._tables.best(notice.prefix)
            self._tables.take(node, notice)
            after = self._tables.best(notice.prefix)
            if after != before:
                self.changes.append(RouteChanged(now_ns, notice.prefix, after))


class _Tables:
    """The routes of each router to each prefix, by metric; a kernel uses the one with the lowest."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.prefixes = [prefix for anycast in services.anycasts for prefix in anycast.prefixes]
        self._routes: dict[tuple[str, str], dict[int, Route]] = {}

    def read(self, router: str, pid: int) -> None:
        """Take the present table of a router."""
        with kernel.in_netns(pid, lambda: kernel.netlink_socket(0)) as route:
            for data in dump(route, RTM_GETROUTE, ANY_ROUTE):
                for notice in _notices(data, self.services):
                    self.take(router, notice)

    def best(self, prefix: str) -> Route:
        """To whom a prefix goes by any router; the floor counts where none has it by BGP."""
        used = [
            routes[min(routes)]
            for (_, known), routes in self._routes.items()
            if known == prefix and routes
        ]
        counted = [route for route in used if not route.floor] or used
        if len(counted) > 1:  # each has a scale of its own
            counted = [_even(route) for route in counted]
        hops = {hop.node: hop for route in counted for hop in route.hops}
        return Route(tuple(sorted(hops.values())), bool(counted) and counted[0].floor)

    def take(self, router: str, notice: _Notice) -> None:
        """A route was added or deleted."""
        routes = self._routes.setdefault((router, notice.prefix), {})
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


def _even(route: Route) -> Route:
    """The route with weights of 1 where all are alike."""
    if len({hop.weight for hop in route.hops}) > 1:
        return route
    return Route(tuple(Hop(hop.node) for hop in route.hops), route.floor)


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
