"""The rules of a tail, as nftables commands: which segments of a VIP stay, and which go next door.

Both nodes of a handover are on the VIP's own link, so a segment for the other one is sent there as a
frame, destination address unchanged (`fwd` at the interface's ingress hook). That is before routing,
conntrack and every other hook: no sysctl, route, rule or conntrack entry of the host is touched, and
its own rulesets do not see these segments.

What a node *knows* are the connections that have a socket here, and those whose SYN has come by lately
(`knowledge`). What it does not know goes to the other node. The giver is asked before the taker's own connections
of before: there may be some whose clients have gone elsewhere since and use the same port again. So a
taker knows nothing at first, the giver sends back what it does not know either, and what comes from the
giver is the taker's: a segment is never in circles. So also the segment of a client that has missed the
gratuitous ARP finds its way, to either node, for as long as the tail lasts.

One frame moves the address on the link: the taker's gratuitous ARP, or unsolicited NA. The taker
answers who asks for the address from the moment that this frame leaves it (egress hook), the giver
is silent, and hands SYNs on, from the moment that it comes in. So one of the two answers, and never
both. On kernels before 5.16, which have no such hook, the taker answers as soon as it has the address.

UDP, and what else is not TCP, stays where it arrives, and so do fragments.
"""

import re
from ipaddress import IPv6Address
from zlib import crc32

from haman.core.frozen import dataclass
from haman.core.handover.messages import Side
from haman.engine.knowledge import KEPT, KNOWN, UNKNOWN
from haman.engine.known_rules import SYN, known, known_sets, learn
from haman.engine.steerer import Job

PRIORITY = -500
"""Before what a host may have on this hook itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """One VIP and family in a handover.

    Attributes:
        vip: its name.
        family: 4 or 6.
        addresses: of the VIP, of this family, without lengths.
        own: an address of this node's on the interface, of this family.
        peer: the other node's.
        peer_mac: of the other node.
        moved: the taker has the addresses, whether or not it is heard to say so again.
    """

    vip: str
    family: int
    interface: str
    side: Side
    addresses: tuple[str, ...]
    own: str
    peer: str
    peer_mac: str
    moved: bool = False

    @property
    def key(self) -> tuple[str, int]:
        """Names the table."""
        return (self.vip, self.family)

    @property
    def table(self) -> str:
        """The table's name: readable, and unlike any other VIP's."""
        plain = re.sub(r"[^A-Za-z0-9]", "_", self.vip)[:32]
        return f"haman_{plain}_{crc32(self.vip.encode()):08x}_ip{self.family}"


def job(steering: Steering) -> Job:
    """For the process that keeps the rules; the second variant is for Linux before 5.16."""
    return Job(
        name=steering.table,
        place=f"{steering.interface} {_set(steering)}",
        begin=tuple(begin(steering, egress=egress) for egress in (True, False)),
        steer=tuple(steer(steering, egress=egress) for egress in (True, False)),
        end=end(steering),
        table=f"netdev {steering.table}",
        addresses=steering.addresses,
        former=_former(steering),
        counts=steering.side is Side.GIVING,
        passed="",
        stays=True,
    )


def _former(steering: Steering) -> str:
    """Before it takes over, clients of a taker that serves no tail of its own have gone elsewhere.

    Once it has, what is there is its own: its rules may have to be made anew.
    """
    if steering.side is Side.GIVING:
        return KNOWN
    return KEPT if steering.moved else UNKNOWN


def begin(steering: Steering, *, egress: bool) -> str:
    """Commands that make the table; all that it does is learn from SYNs.

    Args:
        steering: what it is for.
        egress: the kernel has that hook.
    """
    name = steering.table
    moved = "type ipv4_addr" if steering.family == 4 else "typeof @nh,192,128"
    lines = [
        f"table netdev {name} {{ flags owner;",
        *known_sets(steering.family),
        f"set told {{ {moved}; flags dynamic; size 64; }}",
        f"set heard {{ {moved}; flags dynamic; size 64; }}",
        f'chain in {{ type filter hook ingress device "{steering.interface}" priority {PRIORITY};',
        *_own_segments(steering),
        learn(steering.family),
        "}",
    ]
    if egress:
        hook = f'hook egress device "{steering.interface}"'
        lines += [f"chain out {{ type filter {hook} priority {PRIORITY};", "}"]
    lines.append("}")
    if steering.family == 4:
        lines += [
            f"table arp {name} {{ flags owner;",
            f"chain out {{ type filter hook output priority {PRIORITY};",
            "}",
            "}",
        ]
    return "\n".join(lines)


def steer(steering: Steering, *, egress: bool) -> str:
    """Commands that put the rules in force, in place of those that are there; see `begin`."""
    name, add = steering.table, f"add rule netdev {steering.table}"
    moved = _moved(steering)
    lines = [f"flush chain netdev {name} in", f"flush set netdev {name} {moved}"]
    says, asks, target = _on_the_link(steering)
    if egress:
        lines.append(f"flush chain netdev {name} out")
    if steering.side is Side.TAKING and egress:
        lines.append(f"{add} out {says} add @told {{ {target} }}")
        asked = "arp daddr ip" if steering.family == 4 else target
        mine = f"{asks} {{ {_targets(steering)} }} {asked} != @told drop"
        lines.append(f"{add} in {mine}")
    rules = _taking(steering) if steering.side is Side.TAKING else _giving(steering)
    lines += [f"{add} in {rule}" for rule in rules]
    if steering.moved:
        lines.append(f"add element netdev {name} {moved} {{ {_targets(steering)} }}")
    if steering.family == 4:
        lines.append(f"flush chain arp {name} out")
        # What the host itself asks for, in the VIP's name, would teach others where the VIP is, and
        # be taken for the announcement: a taker may serve a tail of its own, and ask for its clients.
        ask = (
            f"arp operation request arp saddr ip {_set(steering)} arp daddr ip != {_set(steering)}"
        )
        lines.append(f"add rule arp {name} out {ask} arp saddr ip set {steering.own}")
    return "\n".join(lines)


def end(steering: Steering) -> str:
    """Commands that remove all of it."""
    lines = [f"delete table netdev {steering.table}"]
    if steering.family == 4:
        lines.append(f"delete table arp {steering.table}")
    return "\n".join(lines)


_TARGET = "@th,64,128"
"""The target address of a neighbour solicitation or advertisement: before nftables 1.0.8 unnamed."""


def _own_segments(steering: Steering) -> tuple[str, ...]:
    """Let pass what is no whole TCP segment for the VIP."""
    if steering.family == 4:
        return (
            "meta protocol != ip accept",
            f"ip daddr != {_set(steering)} accept",
            "ip protocol != tcp accept",
            "ip frag-off & 0x3fff != 0 accept",
        )
    return (
        "meta protocol != ip6 accept",
        f"ip6 daddr != {_set(steering)} accept",
        "meta l4proto != tcp accept",
    )


def _taking(steering: Steering) -> tuple[str, ...]:
    return (
        *_own_segments(steering),
        learn(steering.family),
        *known(steering.family),
        f"ether saddr {steering.peer_mac} accept",
        _forward(steering),
    )


def _giving(steering: Steering) -> tuple[str, ...]:
    mac = steering.peer_mac
    says, asks, target = _on_the_link(steering)
    moved = "ip daddr @heard" if steering.family == 4 else "@nh,192,128 @heard"
    return (
        f"{says} ether saddr {mac} add @heard {{ {target} }}",
        f"{asks} @heard drop",
        *_own_segments(steering),
        f"ether saddr {mac} {learn(steering.family)}",
        f"{SYN} {moved} {_forward(steering)}",
        learn(steering.family),
        *known(steering.family),
        _forward(steering),
    )


def _on_the_link(steering: Steering) -> tuple[str, str, str]:
    """Match a frame that says where the VIP is, and (cut short) one that asks; and whom they name.

    Sender and target of a gratuitous ARP are the same.
    """
    if steering.family == 4:
        says = f"arp saddr ip {_set(steering)}"
        return (says, "arp operation request arp daddr ip", "arp saddr ip")
    says = f"icmpv6 type nd-neighbor-advert {_TARGET} {{ {_targets(steering)} }}"
    return (says, f"icmpv6 type nd-neighbor-solicit {_TARGET}", _TARGET)


def _forward(steering: Steering) -> str:
    ip = "ip" if steering.family == 4 else "ip6"
    return f'fwd {ip} to {steering.peer} device "{steering.interface}"'


def _moved(steering: Steering) -> str:
    """The set of addresses that the taker has announced: as the taker, or the giver, came to know.

    Not one for both. A frame that is under way through the old rules while they are replaced may add to
    a set after it was flushed (seen in a quarter of the flushes, at a thousand frames a second): a node
    that gives back what it took would be silent at once, and the taker not speak yet.
    """
    return "told" if steering.side is Side.TAKING else "heard"


def _targets(steering: Steering) -> str:
    """The addresses as elements of `_moved`."""
    if steering.family == 4:
        return ", ".join(steering.addresses)
    return ", ".join(hex(int(IPv6Address(address))) for address in steering.addresses)


def _set(steering: Steering) -> str:
    return f"{{ {', '.join(steering.addresses)} }}"
