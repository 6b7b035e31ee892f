"""Faults of cables and frames: on the switch that a node is plugged into, so that it notices nothing."""

import shlex
from collections.abc import Callable, Mapping

from haman.lab.drill import Step
from haman.lab.inside import must, remember
from haman.lab.runtime import LabError, Runtime
from haman.lab.topology import Endpoint

# States of a bridge port: a disabled one drops every frame both ways while its carrier stays up,
# so that the node behind it notices nothing (include/uapi/linux/if_bridge.h).
PORT_STATE = {"silence": "0", "unsilence": "3"}
LINK_STATE = {"link-down": "down", "link-up": "up"}
ONLY = {
    None: ("",),
    "arp": ("ether type arp", "icmpv6 type nd-neighbor-advert"),
    "vrrp": ("ip protocol 112", "ip6 nexthdr 112"),
    "reports": ("udp dport 4710",),
    "bfd": ("udp dport 3784",),
    "bgp": ("tcp dport 179", "tcp sport 179"),
}
"""Which frames a loss concerns, in nft's words."""
TABLE = "bridge lab"
MAKE = f"add table {TABLE}; add chain {TABLE} frames {{ type filter hook forward priority 0; }}; "


def silence(runtime: Runtime, step: Step) -> str:
    """The switch drops every frame of a node, or no longer does."""
    for end in runtime.topology.far_ends(step.node):
        state = PORT_STATE[step.fault]
        must(runtime, end.node, f"bridge link set dev {end.interface} state {state}")
    return f"{step.node} is {'silent' if step.fault == 'silence' else 'heard again'}"


def link(runtime: Runtime, step: Step) -> str:
    """A node's cables are pulled, or plugged in again."""
    for end in _pulled(runtime, step.node):
        # What has no cable keeps its addresses; what is set down would lose those of IPv6.
        keep = f"/proc/sys/net/ipv6/conf/{end.interface}/keep_addr_on_down"
        runtime.exec(end.node, ["sh", "-c", f"echo 1 >{keep}"])
        must(runtime, end.node, f"ip link set dev {end.interface} {LINK_STATE[step.fault]}")
    if step.fault == "link-up":
        _route_again(runtime, step.node)
    return f"{step.node}'s cable is {'out' if step.fault == 'link-down' else 'in'}"


def _pulled(runtime: Runtime, node: str) -> list[Endpoint]:
    """The ends to set down, so that the other end of each cable has no carrier.

    The end that is set down loses its routes. A switch has none; a router is the one to be set down
    itself, for those at its other cables keep theirs in such a case.
    """
    cables = runtime.topology.cables(node)
    among = [runtime.topology.is_switch(far.node) for _, far in cables]
    return [
        far if behind or not any(among) else near
        for (near, far), behind in zip(cables, among, strict=True)
    ]


def loss(runtime: Runtime, step: Step) -> str:
    """Frames of a node get lost on their way to a peer, or to all; the other way is as it was."""
    _lose(runtime, step, step.node, step.peer)
    return f"{_share(step)} from {step.node} to {step.peer or 'everybody'} get lost"


def partition(runtime: Runtime, step: Step) -> str:
    """Frames between two nodes get lost, both ways; everybody else hears both."""
    _lose(runtime, step, step.node, step.peer)
    _lose(runtime, step, step.peer, step.node)
    return f"{_share(step)} between {step.node} and {step.peer} get lost"


def mend(runtime: Runtime, step: Step) -> str:
    """Nothing is lost any more on the switches that a node is plugged into."""
    for end in runtime.topology.far_ends(step.node):
        runtime.exec(end.node, ["nft", f"delete table {TABLE}"])
    return f"no frame of {step.node} gets lost any more"


def heal(runtime: Runtime) -> None:
    """All cables are in, all ports forward, and every node has the routes of its file."""
    lines: dict[str, list[str]] = {node: [] for node in runtime.pids}
    for cable in runtime.topology.links:
        for end in (cable.a, cable.b):
            lines[end.node].append(f"ip link set dev {end.interface} up")
            # Refused where the interface is no bridge port: then there is nothing to undo.
            lines[end.node].append(f"bridge link set dev {end.interface} state 3 2>&- || :")
    for node, wanted in lines.items():
        routes = map(shlex.join, _routes(runtime, node))
        must(runtime, node, ["sh", "-ec", "\n".join([*wanted, *routes])])


def _route_again(runtime: Runtime, name: str) -> None:
    """Give a node the routes of its file, which went with an interface that was down."""
    for command in _routes(runtime, name):
        must(runtime, name, command)


def _routes(runtime: Runtime, name: str) -> list[tuple[str, ...]]:
    node = runtime.topology.node(name)
    commands = node.exec if node else ()
    return [command for command in commands if command[0] == "ip" and "route" in command]


def _lose(runtime: Runtime, step: Step, sender: str, receiver: str) -> None:
    chance = "" if step.percent == 100 else f"numgen random mod 100 < {step.percent}"
    lost = False
    for source in runtime.topology.far_ends(sender):
        for target in _ports(runtime, source, receiver):
            out = f"oifname {target.interface}" if target.interface else ""
            rules = [
                f"add rule {TABLE} frames iifname {source.interface} {out} {only} {chance} drop; "
                for only in ONLY[step.only]
            ]
            remember(runtime, source.node, f"nft delete table {TABLE} 2>/dev/null")
            must(runtime, source.node, ["nft", MAKE + "".join(rules)])
            lost = True
    if not lost:
        raise LabError(f"{step.fault}: no switch is between {sender!r} and {receiver!r}")


def _ports(runtime: Runtime, source: Endpoint, receiver: str) -> list[Endpoint]:
    """Where frames leave a switch towards a receiver; one without a name stands for all."""
    if not receiver:
        return [Endpoint(source.node, "")]
    return [end for end in runtime.topology.far_ends(receiver) if end.node == source.node]


def _share(step: Step) -> str:
    what = {None: "frames", "arp": "ARP and ND frames", "vrrp": "adverts"}.get(step.only, step.only)
    return f"{step.percent} % of {what}" if step.percent < 100 else f"all {what}"


VERBS: Mapping[str, Callable[[Runtime, Step], str]] = {
    "silence": silence,
    "unsilence": silence,
    "link-down": link,
    "link-up": link,
    "loss": loss,
    "partition": partition,
    "mend": mend,
}
