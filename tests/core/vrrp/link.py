"""Nodes joined by a link that loses and delays what the test says; time is a number.

What is sent is encoded, and decoded by whoever receives it. After each step the link holds every
node to the invariants of `router`: the addresses are installed ⇔ the role is active, outputs are
bounded, a deadline lies ahead once its time was given.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from hypothesis import settings

from haman.core.vrrp.group import Group, Key
from haman.core.vrrp.messages import (
    AdvertisementReceived,
    AnnounceAddresses,
    Input,
    InstallAddresses,
    Observed,
    Output,
    RemoveAddresses,
    RoleChanged,
    SendAdvertisement,
    TimePassed,
    VirtualRouterConfig,
)
from haman.core.vrrp.packet import IPAddress, decode, encode
from haman.core.words import Role

MS = 1_000_000
S = 1_000 * MS
WEB: Key = ("web", 4)
WEB6: Key = ("web", 6)

# Examples that are the same in each run, on a machine that may be busy.
steady = settings(deadline=None, derandomize=True, max_examples=200)


def config(number: int, family: int = 4, **options) -> VirtualRouterConfig:
    """The router of node `number`: 10.77.0.1x or fe80::1x, VRID 51, 1 s."""
    source: IPAddress = IPv4Address(f"10.77.0.{10 + number}")
    addresses: tuple[IPAddress, ...] = (IPv4Address("10.77.0.100"),)
    if family == 6:
        source = IPv6Address(f"fe80::{10 + number}")
        addresses = (IPv6Address("fe80::64"), IPv6Address("2001:db8::64"))
    values = {"vrid": 51, "source": source, "addresses": addresses} | options
    return VirtualRouterConfig(**values)


@dataclass
class Node:
    group: Group
    installed: dict[Key, set[IPAddress]] = field(default_factory=dict)
    frozen: bool = False


class Link:
    """`delay_ns(sender, receiver, key)` gives the time that an advert takes, or None: lost."""

    def __init__(self, nodes: dict[str, dict[Key, VirtualRouterConfig]]) -> None:
        self.now = 100 * S
        self.nodes = {name: Node(Group(name, members, self.now)) for name, members in nodes.items()}
        self.delay_ns: Callable[[str, str, Key], int | None] = lambda *_: 1 * MS
        self.transcript: list[str] = []
        self.changes: list[tuple[int, str, Key, RoleChanged]] = []
        self.observed: list[tuple[str, Observed]] = []
        self.sent = 0
        self._flying: list[tuple[int, int, str, Key, AdvertisementReceived]] = []
        self._inbox: dict[str, list[tuple[Key, AdvertisementReceived]]] = {n: [] for n in nodes}
        self._sequence = 0

    # ---- driving -------------------------------------------------------------------------------

    def tell(self, name: str, event: Input, key: Key | None = None) -> None:
        node = self.nodes[name]
        if node.frozen:
            return
        outputs = node.group.step(key, event, self.now)
        assert sum(not isinstance(o, Observed) for _, o in outputs) <= 5 * len(
            node.group.snapshot()
        )
        for member, output in outputs:
            self._do(name, node, member, output)
        snapshots = node.group.snapshot()
        for member, state in snapshots.items():
            expected = set(state.config.addresses) if state.role is Role.ACTIVE else set()
            assert node.installed.get(member, set()) == expected
        assert len({s.role is Role.ACTIVE for s in snapshots.values()}) == 1
        if isinstance(event, TimePassed):
            deadline = node.group.deadline_ns
            assert deadline is None or deadline > self.now

    def run(self, for_ns: int) -> None:
        """Let time pass: adverts arrive before timers end, as the engine does it."""
        end = self.now + for_ns
        for _ in range(100_000):
            moments = [self._flying[0][0]] if self._flying else []
            moments += [
                deadline
                for node in self.nodes.values()
                if not node.frozen and (deadline := node.group.deadline_ns) is not None
            ]
            if not moments or min(moments) > end:
                self.now = end
                return
            self.now = max(self.now, min(moments))
            self._arrive()
            for name, node in self.nodes.items():
                deadline = node.group.deadline_ns
                if not node.frozen and deadline is not None and deadline <= self.now:
                    self.tell(name, TimePassed())
        raise AssertionError("time stands still")

    def freeze(self, name: str) -> None:
        """The node's processes stop; what is sent to it waits in its sockets."""
        self.nodes[name].frozen = True

    def thaw(self, name: str) -> None:
        if not self.nodes[name].frozen:
            return
        self.nodes[name].frozen = False
        waiting, self._inbox[name] = self._inbox[name], []
        for key, event in waiting:
            self.tell(name, event, key)
        self.tell(name, TimePassed())

    # ---- asking --------------------------------------------------------------------------------

    def role(self, name: str, key: Key | None = None) -> Role:
        states = self.nodes[name].group.snapshot()
        return states[key or next(iter(states))].role

    def active(self) -> list[str]:
        return [name for name in self.nodes if self.role(name) is Role.ACTIVE]

    # ---- inside --------------------------------------------------------------------------------

    def _arrive(self) -> None:
        while self._flying and self._flying[0][0] <= self.now:
            _, _, name, key, event = heapq.heappop(self._flying)
            if self.nodes[name].frozen:
                self._inbox[name].append((key, event))
            else:
                self.tell(name, event, key)

    def _do(self, name: str, node: Node, key: Key, output: Output) -> None:
        held = node.installed.setdefault(key, set())
        match output:
            case SendAdvertisement():
                self.sent += 1
                self._note(name, key, f"sends {output.advertisement.priority}")
                self._send(name, key, output)
            case InstallAddresses(addresses):
                held.update(addresses)
            case RemoveAddresses(addresses):
                held.difference_update(addresses)
            case AnnounceAddresses():
                self._note(name, key, "announces")
            case RoleChanged(old, new, reasons):
                self._note(name, key, f"{old} → {new}: {'; '.join(r.text for r in reasons)}")
                self.changes.append((self.now, name, key, output))
            case Observed(code):
                self._note(name, key, f"observes {code}")
                self.observed.append((name, output))

    def _send(self, name: str, key: Key, output: SendAdvertisement) -> None:
        for destination in output.destinations:
            data = encode(
                output.advertisement,
                source=output.source,
                destination=destination,
                checksum=output.checksum,
            )
            for other in self.nodes:
                delay = self.delay_ns(name, other, key)
                if other == name or delay is None:
                    continue
                advertisement = decode(data, source=output.source, destination=destination, ttl=255)
                event = AdvertisementReceived(advertisement, output.source, destination)
                self._sequence += 1
                heapq.heappush(self._flying, (self.now + delay, self._sequence, other, key, event))

    def _note(self, name: str, key: Key, text: str) -> None:
        at = (self.now - 100 * S) // MS
        self.transcript.append(f"{at:6} {name} {key[0]}/{key[1]} {text}")
