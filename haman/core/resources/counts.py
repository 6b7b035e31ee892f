"""Resources that are counted: connections, fds, ports, conntrack. Exact, and so not smoothed."""

from collections.abc import Iterator

from haman.core.resources.findings import Finding, measured
from haman.core.resources.readings import (
    ConntrackSampled,
    CountersSampled,
    PortsSampled,
    ProcessesSampled,
)

PORTS_KNEE = 0.5
"""connect() tries the ports of one parity first, and only then the others, one by one: beyond half
of the range it takes 2 ms instead of 13 µs (measured, Linux 6.18; the parity rule is from 4.2)."""


def connections(now: CountersSampled) -> Iterator[Finding]:
    """Clients connected, against the most that the proxy serves well."""
    if now.connections is None:
        return
    limit = now.connections_limit or None
    at_limit = limit is not None and now.connections >= limit
    yield Finding(
        now.at_ns,
        "proxy",
        measured(
            "connections",
            now.connections,
            limit,
            origin="limit of the proxy" if limit else "",
            problem="" if limit else "the proxy does not tell how many it accepts",
        ),
        hard=f"all {limit} connections are taken" if at_limit else "",
    )


def fds(now: ProcessesSampled) -> Iterator[Finding]:
    """Of the process nearest to its limit."""
    counted = [(p.fds, p.fd_limit, p.process.pid) for p in now.processes if p.fds is not None]
    if not counted:
        return
    count, limit, pid = max(counted, key=lambda c: (c[0] / c[1] if c[1] else 0.0, c[0]))
    at_limit = limit is not None and count >= limit
    yield Finding(
        now.at_ns,
        "descriptors",
        measured(
            "fds",
            count,
            limit,
            detail=f"process {pid}",
            origin="RLIMIT_NOFILE" if limit else "",
            problem="" if limit else f"process {pid} has no limit",
        ),
        hard=f"process {pid} has all {limit} descriptors open" if at_limit else "",
    )


def ports(now: PortsSampled) -> Iterator[Finding]:
    """Towards the worst destination, against half of the range."""
    where = f"from {now.source} to {now.destination}"
    exhausted = bool(now.destination) and now.used >= now.span
    yield Finding(
        now.at_ns,
        "local ports",
        measured(
            "ports",
            now.used,
            now.span * PORTS_KNEE,
            detail=where if now.destination else "at most: all destinations together",
            origin=f"{PORTS_KNEE:g} of {now.span} ports per source address and destination",
        ),
        hard=f"all {now.span} ports are used {where}" if exhausted else "",
        slow=True,
    )


def conntrack(now: ConntrackSampled) -> Iterator[Finding]:
    """Of the network namespace, against its table's size."""
    if now.limit is None:
        return
    yield Finding(
        now.at_ns,
        "netfilter",
        measured("conntrack", now.count, now.limit, origin="nf_conntrack_max"),
        hard=f"all {now.limit} entries are taken" if now.count >= now.limit else "",
        slow=True,
    )
