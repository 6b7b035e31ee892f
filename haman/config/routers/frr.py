"""FRR's side of a peering: text that `vtysh -b` or `vtysh -f` takes as it is. Pure.

Accepted by FRR 8.4 and written for 8 and later. What each line is for was measured: see the comments
in the text itself, which an operator reads before pasting it.
"""

from collections.abc import Iterator

from haman.config.model import Bfd
from haman.config.reader import Problem
from haman.config.routers.peering import Peering, Session

FLOOR_DISTANCE = 250
"""Below every routing protocol's: eBGP is 20, iBGP 200; 255 is never used."""
CONNECT_RETRY_S = 5
GROUP = "HAMAN"
WORDS = {4: "ip", 6: "ipv6"}


def objections(peering: Peering) -> tuple[Problem, ...]:
    """What FRR cannot do, with the keys that ask for it.

    With `ttl-security` FRR 8 takes the neighbour's BFD session for one over several hops (RFC 5883,
    port 4784), which never comes up with a node next to it (measured with 8.4.4).
    """
    return tuple(
        Problem(
            session.path,
            f"{session.key}.ttl_security",
            "and bfd exclude each other with FRR, which then speaks BFD over several hops; "
            "leave one of them out",
        )
        for session in peering.sessions
        if session.ttl_security and session.bfd
    )


def frr(peering: Peering) -> str:
    """The whole configuration, for people and for vtysh."""
    sections = (
        _heading(peering),
        _filters(peering),
        _floor(peering),
        _bfd(peering),
        _router(peering),
    )
    return "\n!\n".join("\n".join(section) for section in map(tuple, sections) if section) + "\n"


def _heading(peering: Peering) -> Iterator[str]:
    yield f"! For the router in AS {peering.router_as}: sessions with {', '.join(peering.nodes)}."
    yield "! Written by `haman router-config frr`; needs the daemons zebra, staticd, bgpd and bfdd."
    yield "!"
    yield "! On the router, for connections to spread by address and port, not by address alone:"
    for version in peering.versions:
        yield f"!   sysctl -w net.ipv{version}.fib_multipath_hash_policy=1"
    if 6 in peering.versions:
        yield "! For IPv6, in /etc/frr/daemons: add --v6-rr-semantics to zebra_options. Without it zebra deletes a"
        yield "! route and adds it again at each change of next hops or weights: 1 ms without a route, each time."
    yield "! A node that shuts (65535:0) or sends a smaller link bandwidth is honoured without a line here."
    for prefix, hops in peering.prefixes.items():
        if not hops:
            yield f"! {prefix} is left out: no node has a session of its address family."


def _filters(peering: Peering) -> Iterator[str]:
    yield "! Exactly these prefixes come in, and nothing goes out."
    for version in peering.versions:
        for place, prefix in enumerate(peering.announced(version), 1):
            yield f"{WORDS[version]} prefix-list {GROUP}-{version} seq {5 * place} permit {prefix}"
    for version in peering.versions:
        yield f"route-map {GROUP}-IN-{version} permit 10"
        yield f" match {WORDS[version]} address prefix-list {GROUP}-{version}"
        yield "exit"
    yield f"route-map {GROUP}-OUT deny 10"
    yield "exit"


def _floor(peering: Peering) -> Iterator[str]:
    yield "! The floor: used when no node announces, so that a mistake in announcing is no outage."
    for version in peering.versions:
        for prefix, hops in peering.announced(version).items():
            for hop in hops:
                yield f"{WORDS[version]} route {prefix} {hop} {FLOOR_DISTANCE}"


def _bfd(peering: Peering) -> Iterator[str]:
    profiles = dict.fromkeys(session.bfd for session in peering.sessions if session.bfd)
    if not profiles:
        return
    yield "bfd"
    for bfd in profiles:
        yield f" profile {_profile(bfd)}"
        yield f"  detect-multiplier {bfd.multiplier}"
        yield f"  receive-interval {bfd.interval_ms}"
        yield f"  transmit-interval {bfd.interval_ms}"
        yield " exit"
    yield "exit"


def _router(peering: Peering) -> Iterator[str]:
    yield "! Each route waits here for others to be done with it: 10 ms, unless it is told not to."
    yield "zebra work-queue 0"
    yield "!"
    yield f"router bgp {peering.router_as}"
    if peering.router_id:
        yield " ! Leave the next line out where the router has an id already."
        yield f" bgp router-id {peering.router_id}"
    yield " no bgp default ipv4-unicast"
    yield " ! Nodes of different AS share the load, too."
    yield " bgp bestpath as-path multipath-relax"
    yield " ! A withdrawal takes effect at once, and a lost session is tried again soon. Graceful restart is"
    yield " ! not negotiated by the nodes: with it a dead one would be served for the whole restart time."
    for version in peering.versions:
        group = f" neighbor {GROUP}-{version}"
        yield f"{group} peer-group"
        yield f"{group} advertisement-interval 0"
        yield f"{group} timers connect {CONNECT_RETRY_S}"
    for session in peering.sessions:
        yield from _neighbor(session)
    for version in peering.versions:
        group = f"  neighbor {GROUP}-{version}"
        yield f" address-family ipv{version} unicast"
        yield f"{group} activate"
        yield f"{group} soft-reconfiguration inbound"
        yield f"{group} maximum-prefix {peering.prefix_limit(version)}"
        yield f"{group} route-map {GROUP}-IN-{version} in"
        yield f"{group} route-map {GROUP}-OUT out"
        yield f"  maximum-paths {peering.path_limit(version)}"
        if any(session.local_as == peering.router_as for session in peering.of(version)):
            yield f"  maximum-paths ibgp {peering.path_limit(version)}"
        yield " exit-address-family"
    yield "exit"


def _neighbor(session: Session) -> Iterator[str]:
    peer = f" neighbor {session.address}"
    yield f"{peer} remote-as {session.local_as}"
    yield f"{peer} peer-group {GROUP}-{session.version}"
    yield f"{peer} description {session.node}"
    yield f"{peer} timers {session.keepalive_s} {session.hold_time_s}"
    if session.ttl_security:
        yield f"{peer} ttl-security hops 1"
    if session.bfd:
        yield f"{peer} bfd profile {_profile(session.bfd)}"
    if session.password is not None:
        yield f"{peer} password {session.password}"
    elif session.password_file:
        yield f" ! {peer.strip()} password <the text of {session.password_file} on {session.node}>"


def _profile(bfd: Bfd) -> str:
    return f"{GROUP}-{bfd.interval_ms}x{bfd.multiplier}"
