"""The rules of an anycast service's tail, as nftables commands: see `core.handover.steering`.

As those of a VIP's (`steering_rules`): what a node *knows* are the connections that have a socket here, and
those whose SYN has come by lately. What it does not know is sent on as a frame, destination unchanged,
at the ingress hook of each interface that clients' segments arrive on. The address is on `lo` of every
node, so nobody has to be told on the link, and nobody is asked.

    at        comes from                is not known, and goes to
    --------  ------------------------  ----------------------------------------
    survivor  who is before it in line  who is next, or is answered here by the last
              another node              is answered here
              elsewhere: a router       the pivot
    pivot     anywhere                  the first in line; it counts as passed for PASSED_S
              another node              and so does what is known, which a router sent elsewhere

A node is known by its MAC address. Should one be mistaken, `fwd` takes one off the hop limit each time.
"""

import re
from zlib import crc32

from haman.core.frozen import dataclass
from haman.core.handover.messages import Side
from haman.engine.knowledge import KEPT, UNKNOWN
from haman.engine.known_rules import (
    KNOWN_MAX,
    connection,
    connection_type,
    known,
    known_sets,
    learn,
)
from haman.engine.steerer import Job
from haman.engine.steering_rules import PRIORITY

PASSED_S = 10
"""Of a connection whose segment came by: longer than most are silent for, and a tail ends that much later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diversion:
    """One service and family in a tail, on one interface.

    Attributes:
        service: its name.
        family: 4 or 6.
        interface: that clients' segments arrive on.
        addresses: of the service, of this family, without lengths.
        to: the draining node's address; giving: "".
        out: the interface that leads there.
        next: the next one's in line; "" = nobody.
        next_out: the interface that leads there.
        after: MAC addresses of who is before this node in line.
        others: of the cluster's other nodes.
        counts: the sockets of these addresses are counted with this one.
        anew: this node is about to come back, and what it served before is nobody's any more.
    """

    service: str
    family: int
    interface: str
    side: Side
    addresses: tuple[str, ...]
    to: str = ""
    out: str = ""
    next: str = ""
    next_out: str = ""
    after: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    counts: bool = False
    anew: bool = False

    @property
    def key(self) -> tuple[str, int]:
        """Names the table."""
        return (f"{self.service} on {self.interface}", self.family)

    @property
    def table(self) -> str:
        """The table's name: readable, and unlike any other's."""
        plain = re.sub(r"[^A-Za-z0-9]", "_", self.service)[:32]
        return f"haman_{plain}_{crc32(self.key[0].encode()):08x}_ip{self.family}"

    @property
    def ip(self) -> str:
        """Of the family, as nftables has it."""
        return "ip" if self.family == 4 else "ip6"


def job(diversion: Diversion) -> Job:
    """For the process that keeps the rules.

    Whole or not at all: rules of a tail that is over would lead to a node that knows nothing of it.
    """
    return Job(
        name=diversion.table,
        place=_set(diversion.addresses),
        begin=(begin(diversion),),
        steer=(steer(diversion),),
        end=end(diversion),
        table=f"netdev {diversion.table}",
        addresses=diversion.addresses,
        former=UNKNOWN if diversion.anew else KEPT,
        counts=diversion.counts,
        passed=passed(diversion) if diversion.side is Side.GIVING else "",
        stays=False,
    )


def begin(diversion: Diversion) -> str:
    """Commands that make the table; all that it does is learn from SYNs."""
    kind = connection_type(diversion.family)
    hook = f'hook ingress device "{diversion.interface}" priority {PRIORITY};'
    lines = (
        f"table netdev {diversion.table} {{ flags owner;",
        *known_sets(diversion.family),
        f"set passed {{ type {kind}; flags dynamic,timeout; timeout {PASSED_S}s; size {KNOWN_MAX}; }}",
        f"chain in {{ type filter {hook}",
        *_own_segments(diversion),
        learn(diversion.family),
        "}",
        "}",
    )
    return "\n".join(lines)


def steer(diversion: Diversion) -> str:
    """Commands that put the rules in force, in place of those that are there; see `begin`."""
    rules = [*_own_segments(diversion), learn(diversion.family)]
    update = f"update @passed {{ {connection(diversion.family)} }}"
    if diversion.side is Side.GIVING and diversion.others:
        rules.append(f"ether saddr {_set(diversion.others)} {update}")
    rules += known(diversion.family)
    on = _forward(diversion, diversion.next, diversion.next_out) if diversion.next else "accept"
    if diversion.side is Side.TAKING:
        if diversion.after:
            rules.append(f"ether saddr {_set(diversion.after)} {on}")
        if diversion.others:
            rules.append(f"ether saddr {_set(diversion.others)} accept")
        rules.append(_forward(diversion, diversion.to, diversion.out))
    elif diversion.next:
        rules.append(f"{update} {on}")
    add = f"add rule netdev {diversion.table} in"
    return "\n".join(
        [f"flush chain netdev {diversion.table} in", *(f"{add} {rule}" for rule in rules)]
    )


def passed(diversion: Diversion) -> str:
    """A command that prints the connections that count as passed."""
    return f"list set netdev {diversion.table} passed"


def end(diversion: Diversion) -> str:
    """A command that removes all of it."""
    return f"delete table netdev {diversion.table}"


def _own_segments(diversion: Diversion) -> tuple[str, ...]:
    """Let pass what is no whole TCP segment for the service."""
    ip = diversion.ip
    fragments = ("ip frag-off & 0x3fff != 0 accept",) if diversion.family == 4 else ()
    return (
        f"meta protocol != {ip} accept",
        f"{ip} daddr != {_set(diversion.addresses)} accept",
        "meta l4proto != tcp accept",
        *fragments,
    )


def _forward(diversion: Diversion, to: str, out: str) -> str:
    return f'fwd {diversion.ip} to {to} device "{out}"'


def _set(elements: tuple[str, ...]) -> str:
    return f"{{ {', '.join(elements)} }}"
