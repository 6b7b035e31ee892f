"""Hundreds of virtual routers in one engine: each is found when it is due, and no other is asked."""

from ipaddress import IPv4Address, IPv6Address
from unittest.mock import Mock

import pytest

from haman.config.model import Config, Vip
from haman.core.facts import VipStance
from haman.core.vrrp.messages import AdvertisementReceived, Started
from haman.core.vrrp.packet import Advertisement
from haman.core.words import Event, Role
from haman.engine.announce import Announcer
from haman.engine.groups import Groups
from haman.engine.members import members
from haman.engine.reporter import Reporter
from haman.system.sockets import Claimed

MS = 1_000_000
OWN = {4: IPv4Address("10.77.0.11"), 6: IPv6Address("fe80::11")}
PEER = IPv4Address("10.77.0.12")
COUNT = 255
DOWN_MS = 361  # 3 × 100 + (256 − 100) / 256 × 100


class Node:
    """The groups of a node, a wire that notes what is sent, and a kernel that agrees."""

    def __init__(self, count: int = COUNT, *others: str) -> None:
        vips = tuple(
            Vip(f"vr{n}", "eth1", n, (f"10.78.0.{n}/32", *others), advert_interval_ms=100)
            for n in range(1, count + 1)
        )
        self.sent: list[int] = []
        self.announced: list[tuple[str, int]] = []
        self.told: list[Event] = []
        wires = Mock()
        wires.send.side_effect = lambda _, advert: self.sent.append(advert.advertisement.vrid)
        holdings = Mock()
        holdings.confirmed.return_value = False
        self.groups = Groups(
            Reporter(self.told.append),
            Announcer(self.announced.append),
            wires,
            holdings,
            role_changed=Mock(),
            handed_over=Mock(),
        )
        found = members(Config(vip=vips), {})
        self.keys = list(found)
        self.groups.configure(
            found, lambda key: found[key].router(OWN[key[1]], VipStance(key[0], True, 100)), 0
        )
        wires.announce.side_effect = lambda _, address: self.announced.append((str(address), 4))
        for key in self.keys:
            self.groups.step(key, Started(), 0)

    def hear(self, vrid: int, priority: int, now_ns: int) -> None:
        said = Advertisement(3, vrid, priority, (IPv4Address(f"10.78.0.{vrid}"),), 100 * MS)
        wire = ("eth1", 4)
        self.groups.received(wire, AdvertisementReceived(said, PEER, IPv4Address("224.0.0.18")))
        self.groups.turn(now_ns)

    def role(self, vrid: int) -> Role:
        return self.groups.snapshot()[(f"vr{vrid}", 4)].role

    @property
    def due_ms(self) -> float:
        assert self.groups.deadline_ns is not None
        return self.groups.deadline_ns / MS


def test_all_take_over_in_one_turn_and_advertise_together() -> None:
    node = Node()
    assert 360 < node.due_ms < DOWN_MS
    node.groups.turn(DOWN_MS * MS)
    assert node.sent == list(range(1, COUNT + 1))
    assert {node.role(vrid) for vrid in (1, 100, COUNT)} == {Role.ACTIVE}
    assert node.due_ms == DOWN_MS + 100
    node.groups.turn((DOWN_MS + 99) * MS)
    assert len(node.sent) == COUNT
    node.groups.turn((DOWN_MS + 100) * MS)
    assert node.sent[COUNT:] == list(range(1, COUNT + 1))


def test_who_is_heard_waits_on_and_who_is_not_takes_over() -> None:
    node = Node()
    for vrid in range(1, COUNT + 1):
        if vrid != 77:
            node.hear(vrid, 150, 300 * MS)
    node.groups.turn(DOWN_MS * MS)
    assert node.sent == [77]
    assert node.role(77) is Role.ACTIVE
    assert node.role(78) is Role.BACKUP
    assert node.due_ms == DOWN_MS + 100
    node.groups.turn(460 * MS)
    assert node.sent == [77]
    node.groups.turn((300 + DOWN_MS) * MS)
    assert sorted(node.sent) == sorted([77, *range(1, COUNT + 1)])


def test_the_engine_sleeps_until_a_group_is_due_and_no_shorter() -> None:
    node = Node(2)
    node.hear(1, 150, 100 * MS)
    assert 360 < node.due_ms < DOWN_MS
    node.hear(2, 150, 200 * MS)
    assert 460 < node.due_ms < 100 + DOWN_MS
    node.hear(1, 0, 210 * MS)
    assert 270 < node.due_ms < 271
    node.groups.turn(271 * MS)
    assert node.sent == [1]
    assert node.due_ms == 371


def test_a_release_is_followed_before_what_the_router_waited_for() -> None:
    node = Node()
    for vrid in (1, 2):
        node.hear(vrid, 150, 50 * MS)
    node.hear(2, 0, 60 * MS)
    assert 120 < node.due_ms < 121  # the skew of priority 100
    node.groups.turn(121 * MS)
    assert node.sent == [2]
    assert node.role(1) is Role.BACKUP


def test_one_that_was_silent_for_long_is_no_longer_active_where_another_one_is() -> None:
    node = Node(2)
    node.groups.turn(DOWN_MS * MS)
    node.sent.clear()
    node.hear(2, 90, (DOWN_MS + 1000) * MS)
    assert node.role(2) is Role.BACKUP
    assert node.role(1) is Role.ACTIVE
    assert node.sent == [1]


@pytest.mark.parametrize(
    ("interface", "address", "expected"),
    [("eth1", "10.78.0.200", 1), ("eth2", "10.78.0.200", 0), ("eth1", "10.78.1.1", 0)],
)
def test_a_second_holder_of_one_of_many_addresses_is_told(
    interface: str, address: str, expected: int
) -> None:
    node = Node()
    node.groups.turn(DOWN_MS * MS)
    node.groups.claimed(Claimed(interface, IPv4Address(address), b"\2\0\0\0\0\x63"))
    node.groups.turn((DOWN_MS + 1000) * MS)
    found = [event for event in node.told if event.type == "conflict-detected"]
    assert len(found) == expected
    assert [a for a, _ in node.announced] == ["10.78.0.200"] * expected


@pytest.mark.parametrize("address", [IPv4Address("10.78.0.1"), IPv6Address("2001:db8::1")])
def test_who_was_preempted_may_announce_for_a_while_and_is_answered(
    address: IPv4Address | IPv6Address,
) -> None:
    node = Node(1, "2001:db8::1/128")  # of which nothing was heard: it comes with the other family
    for at_ms in range(100, 2000, 100):
        node.hear(1, 150, at_ms * MS)
    node.hear(1, 90, 2000 * MS)
    node.groups.turn((began_ms := 1900 + DOWN_MS) * MS)
    assert node.role(1) is Role.ACTIVE
    conflicts = []
    for after_ms in (1, 299, 300):
        node.groups.claimed(Claimed("eth1", address, b"\2\0\0\0\0\x63"))
        node.groups.turn((began_ms + after_ms) * MS)
        conflicts.append([event.type for event in node.told].count("conflict-detected"))
    assert conflicts == [0, 0, 1]
    assert (str(address), 4) in node.announced  # its clients had been told the wrong way
