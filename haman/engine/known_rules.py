"""What a node knows of connections, as parts of nftables commands: see `steering_rules` and `knowledge`.

set    holds connections            filled by                            emptied by
-----  ---------------------------  -----------------------------------  -------------------------------
fresh  whose SYN has come by        the rule itself, at the SYN          FRESH_S, or the client's RST
known  that have a socket here      `knowledge`, a second or two later   `knowledge`

A client that resets is done with its port, and may use it again at once. It may even mean the same
connection: where an old socket answers its SYN with an acknowledgment, it resets that one and sends the
SYN again, which may come to another node (measured: 9 of 5,400 connections of drains that followed one
another, of 300 each, were lost so).
"""

from haman.engine.knowledge import FRESH_S

KNOWN_MAX = 1 << 19
"""Connections that a set holds. Beyond it a SYN is not remembered, and goes to where unknown ones go."""
SYN = "tcp flags & (syn | ack) == syn"
RST = "tcp flags & rst == rst"


def known_sets(family: int) -> tuple[str, str]:
    """Of a table: the connections with a socket, and those whose SYN has come by lately."""
    kind = connection_type(family)
    return (
        f"set known {{ type {kind}; flags dynamic; size {KNOWN_MAX}; }}",
        f"set fresh {{ type {kind}; flags dynamic,timeout; timeout {FRESH_S}s; size {KNOWN_MAX}; }}",
    )


def learn(family: int) -> str:
    """A rule: a SYN stays here, and is remembered."""
    return f"{SYN} update @fresh {{ {connection(family)} }} accept"


def known(family: int) -> tuple[str, ...]:
    """Rules: what is known stays here."""
    which = connection(family)
    return (
        f"{RST} {which} @fresh delete @fresh {{ {which} }} accept",
        f"{which} @known accept",
        f"{which} @fresh accept",
    )


def connection_type(family: int) -> str:
    """Of a set of connections."""
    return f"ipv{family}_addr . inet_service . ipv{family}_addr . inet_service"


def connection(family: int) -> str:
    """What names the connection of a segment."""
    ip = "ip" if family == 4 else "ip6"
    return f"{ip} saddr . tcp sport . {ip} daddr . tcp dport"
