"""BIRD's side of a peering: a whole bird.conf for BIRD 2, which `bird -p` takes as it is. Pure.

Two things FRR does by itself and BIRD does not: it gives GRACEFUL_SHUTDOWN (65535:0) no meaning, so
the import filter does; and it has no use for link bandwidth, so nodes with a reduced weight get
the same share as the others, which the text says.
"""

from collections.abc import Iterator

from haman.config.routers.peering import Peering, Session

FLOOR_PREFERENCE = 1
"""Below every protocol's default: BGP is 100 (BIRD user's guide, section 6)."""
CONNECT_RETRY_S = 5
ERROR_WAIT_S = (1, 30)


def bird(peering: Peering) -> str:
    """The whole configuration, for people and for bird."""
    sections = [_heading(peering), _base(peering)]
    for version in peering.versions:
        sections += [_filter(peering, version), _floor(peering, version)]
    sections += [_session(peering, session) for session in peering.sessions]
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def _heading(peering: Peering) -> Iterator[str]:
    yield f"# For the router in AS {peering.router_as}: sessions with {', '.join(peering.nodes)}."
    yield "# Written by `haman router-config bird`, for BIRD 2."
    yield "#"
    yield "# On the router, for connections to spread by address and port, not by address alone:"
    for version in peering.versions:
        yield f"#   sysctl -w net.ipv{version}.fib_multipath_hash_policy=1"
    yield "# BIRD makes no use of link bandwidth: a node with a reduced weight gets its whole share until"
    yield "# it shuts. Set weighted = false on the nodes for haman not to wait for an effect."
    for prefix, hops in peering.prefixes.items():
        if not hops:
            yield f"# {prefix} is left out: no node has a session of its address family."


def _base(peering: Peering) -> Iterator[str]:
    yield "# Where the router has these already, they need `merge paths` and the two sources."
    if peering.router_id:
        yield f"router id {peering.router_id};"
    yield "protocol device { }"
    for version in peering.versions:
        yield f"protocol kernel haman_kernel{version} {{"
        yield f"\tmerge paths on limit {peering.path_limit(version)};"
        yield f"\tipv{version} {{"
        yield "\t\timport none;"
        yield "\t\texport where source ~ [ RTS_BGP, RTS_STATIC ];"
        yield "\t};"
        yield "}"
    if any(session.bfd for session in peering.sessions):
        yield "protocol bfd haman_bfd { }"


def _filter(peering: Peering, version: int) -> Iterator[str]:
    prefixes = ", ".join(peering.announced(version))
    yield "# Exactly these prefixes come in; a node that shuts is used only when all do (RFC 8326)."
    yield f"filter haman_in{version} {{"
    yield f"\tif net !~ [ {prefixes} ] then reject;"
    yield "\tif (65535, 0) ~ bgp_community then bgp_local_pref = 0;"
    yield "\taccept;"
    yield "}"


def _floor(peering: Peering, version: int) -> Iterator[str]:
    yield "# The floor: used when no node announces, so that a mistake in announcing is no outage."
    yield f"protocol static haman_floor{version} {{"
    yield f"\tipv{version} {{ preference {FLOOR_PREFERENCE}; }};"
    for prefix, hops in peering.announced(version).items():
        yield f"\troute {prefix} {' '.join(f'via {hop}' for hop in hops)};"
    yield "}"


def _session(peering: Peering, session: Session) -> Iterator[str]:
    yield f"protocol bgp 'haman_{session.node}_{session.neighbor}' {{"
    yield f"\tlocal as {peering.router_as};"
    yield f"\tneighbor {session.address} as {session.local_as};"
    yield "\tdirect;"
    yield f"\thold time {session.hold_time_s};"
    yield f"\tkeepalive time {session.keepalive_s};"
    yield f"\tconnect retry time {CONNECT_RETRY_S};"
    yield f"\terror wait time {ERROR_WAIT_S[0]}, {ERROR_WAIT_S[1]};"
    yield "\tgraceful restart off;  # or a dead node is served for the whole restart time"
    if session.ttl_security:
        yield "\tttl security on;"
    if session.bfd:
        interval = session.bfd.interval_ms
        yield "\tbfd {"
        yield f"\t\tmin rx interval {interval} ms;"
        yield f"\t\tmin tx interval {interval} ms;"
        yield f"\t\tmultiplier {session.bfd.multiplier};"
        yield "\t};"
    if session.password is not None:
        yield f'\tpassword "{session.password}";'
    elif session.password_file:
        yield f'\t# password "<the text of {session.password_file} on {session.node}>";'
    yield f"\tipv{session.version} {{"
    yield f"\t\timport filter haman_in{session.version};"
    yield f"\t\timport limit {peering.prefix_limit(session.version)} action block;"
    yield "\t\timport table on;"
    yield "\t\texport none;"
    yield "\t};"
    yield "}"
