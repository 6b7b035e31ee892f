"""What is wanted, confirmed, renewed and given up, with a fake worker and a clock of our own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_interface
from socket import AF_INET

import pytest

from haman.config.model import Config, Vip
from haman.core.vrrp.group import Key
from haman.core.words import Event, Reason
from haman.engine.addresses import Orders, Reconciled, Refusal
from haman.engine.claims import Claim
from haman.engine.holdings import CONFIRM_WITHIN_NS, NS_PER_S, REFUSALS_MAX, Holdings
from haman.engine.interfaces import Interfaces
from haman.engine.loop import EARLY_NS
from haman.engine.members import Member, members
from haman.engine.reporter import Reporter
from haman.system.netlink import AddressRemoved, InterfaceAddress, Link

ETH0 = Link(7, "eth0", 1, 0x43, 6, b"\x02" * 6)
PLACE = InterfaceAddress(7, AF_INET, "10.0.0.1", 24)
KEY = ("web", 4)


@dataclass
class Rig:
    """The parts around `Holdings`, and what they were told."""

    failed: Callable[[Key, Reason], None] | None = None
    submitted: list[Orders] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    acquired: list[Key] = field(default_factory=list)
    failures: list[Reason] = field(default_factory=list)
    removed: list[tuple[Key, int]] = field(default_factory=list)
    pages: list[set[InterfaceAddress]] = field(default_factory=list)
    order: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.interfaces = Interfaces(["10.0.0.1"])
        self.interfaces.dump_ended([ETH0], [])
        config = Config(vip=(Vip("web", "eth0", 51, ("10.0.0.1/24",)),))
        every = members(config, {})
        self.member: Member = every[KEY]
        self.holdings = Holdings(
            self,
            self.interfaces,
            Reporter(self.events.append),
            acquired=self.acquired.append,
            removed=lambda key, took_ns: self.removed.append((key, took_ns)),
            failed=self.failed or (lambda _key, reason: self.failures.append(reason)),
            write_page=self._write_page,
        )
        self.holdings.configure(every)
        self.holdings.flush(0)
        self.answer()

    def submit(self, orders: Orders) -> None:
        self.order.append("ask")
        self.submitted.append(orders)

    def _write_page(self, places) -> None:
        self.order.append("page")
        self.pages.append(set(places))

    def answer(self, *held: InterfaceAddress, at_ns: int = 0, **more) -> None:
        self.holdings.answered(Reconciled(self.last.generation, frozenset(held), **more), at_ns)

    @property
    def last(self) -> Orders:
        return self.submitted[-1]

    def types(self) -> list[str]:
        return [event.type for event in self.events]


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_the_first_orders_clean_up(rig: Rig) -> None:
    assert rig.submitted[0].initial
    rig.holdings.hold(rig.member, 0)
    rig.holdings.flush(0)
    assert not rig.last.initial


def test_the_page_is_written_before_the_address_is_asked_for(rig: Rig) -> None:
    rig.order.clear()
    rig.holdings.hold(rig.member, 0)
    rig.holdings.flush(0)
    assert rig.order == ["page", "ask"]
    assert rig.pages[-1] == {PLACE}
    assert rig.last.wanted[PLACE].lease_s == 5  # three adverts of 1 s, a skew, and one
    assert not rig.holdings.confirmed(KEY)


def test_acquired_and_released_are_told_when_the_kernel_has_confirmed(rig: Rig) -> None:
    rig.holdings.hold(rig.member, 0)
    rig.holdings.flush(0)
    rig.answer(PLACE, at_ns=2_000_000)
    assert rig.acquired == [KEY]
    assert rig.types() == ["vip-acquired"]
    assert rig.events[0].data == {"took_ms": 2.0}
    assert rig.holdings.held("web") == ("10.0.0.1/24",)
    before = rig.last.generation
    rig.holdings.drop(KEY, 5_000_000)
    rig.holdings.flush(5_000_000)
    assert rig.pages[-1] == {PLACE}, "still there until the kernel says otherwise"
    rig.holdings.answered(Reconciled(before), 6_000_000)
    assert rig.types() == ["vip-acquired"], "an answer to older orders confirms nothing"
    assert not rig.holdings.empty
    assert rig.removed == []
    rig.answer(at_ns=7_000_000)
    assert rig.types() == ["vip-acquired", "vip-released"]
    assert rig.removed == [(KEY, 2_000_000)]
    assert rig.events[1].data == {"took_ms": 2.0}
    assert rig.pages[-1] == set()
    assert rig.holdings.empty


def test_what_is_stuck_is_not_released(rig: Rig) -> None:
    rig.holdings.hold(rig.member, 0)
    rig.holdings.flush(0)
    rig.answer(PLACE)
    rig.holdings.drop(KEY, 0)
    rig.holdings.flush(0)
    rig.answer(stuck=(Refusal(PLACE, 16, "busy"),))
    assert rig.types() == ["vip-acquired", "address-stuck"]
    assert rig.removed == []
    again_ns = rig.holdings.deadline_ns
    assert again_ns == NS_PER_S
    asked = len(rig.submitted)
    rig.holdings.flush(again_ns)
    assert len(rig.submitted) == asked + 1
    rig.answer()
    assert rig.types()[-1] == "vip-released"


def test_leases_are_renewed_three_times_each(rig: Rig) -> None:
    rig.holdings.hold(rig.member, 0)
    rig.holdings.flush(0)
    rig.answer(PLACE)
    due_ns = rig.holdings.deadline_ns
    assert due_ns == 5 * NS_PER_S // 3
    rig.holdings.flush(due_ns - EARLY_NS - 1)
    assert [orders.renew for orders in rig.submitted] == [False, False]
    rig.holdings.flush(due_ns)
    assert [orders.renew for orders in rig.submitted] == [False, False, True]
    assert rig.holdings.deadline_ns == 2 * due_ns


@pytest.mark.parametrize("longer_first", [True, False])
def test_of_leases_of_several_lengths_none_ends_unrenewed(rig: Rig, *, longer_first: bool) -> None:
    address = ip_interface("192.0.2.1/32")
    longer = Claim(
        service="edge", family=4, interface="eth0", addresses=(address,), lease_s=15, kind="anycast"
    )
    first, second = (longer, rig.member) if longer_first else (rig.member, longer)
    rig.holdings.hold(first, 0)
    rig.holdings.flush(0)
    rig.holdings.hold(second, NS_PER_S)
    rig.holdings.flush(NS_PER_S)
    lease_ns = rig.member.lease_s * NS_PER_S
    assert rig.holdings.deadline_ns is not None
    rig.answer(PLACE, InterfaceAddress(7, AF_INET, "192.0.2.1", 32), at_ns=NS_PER_S)
    assert rig.holdings.deadline_ns <= NS_PER_S + lease_ns // 3
    rig.holdings.flush(rig.holdings.deadline_ns)
    assert rig.submitted[-1].renew


def test_a_turn_shortly_before_a_renewal_is_due_renews(rig: Rig) -> None:
    rig.holdings.hold(rig.member, 0)
    rig.holdings.flush(0)
    rig.answer(PLACE)
    due_ns = rig.holdings.deadline_ns
    assert due_ns is not None
    rig.holdings.flush(due_ns - EARLY_NS)
    assert rig.submitted[-1].renew
    assert rig.holdings.deadline_ns == 2 * due_ns - EARLY_NS
    rig.holdings.flush(due_ns)
    assert len(rig.submitted) == 3


def test_a_refused_address_is_tried_again_and_then_given_up(rig: Rig) -> None:
    rig.holdings.hold(rig.member, 0)
    now_ns = 0
    for _ in range(REFUSALS_MAX):
        assert rig.failures == []
        rig.holdings.flush(now_ns)
        rig.answer(refused=(Refusal(PLACE, 1, "Operation not permitted"),), at_ns=now_ns)
        now_ns = rig.holdings.deadline_ns or 0
    assert [reason.code for reason in rig.failures] == ["address-not-installed"]
    assert "not permitted" in rig.failures[0].text


def test_an_address_that_is_never_confirmed_is_given_up(rig: Rig) -> None:
    rig.holdings.hold(rig.member, 0)
    rig.holdings.flush(0)
    due_ns = rig.holdings.deadline_ns or 0
    while not rig.failures:
        rig.holdings.flush(due_ns)
        due_ns = rig.holdings.deadline_ns or 0
        assert due_ns < 4 * NS_PER_S
    assert "not confirmed" in rig.failures[0].text


def test_what_is_dropped_because_another_one_was_given_up_is_not_given_up_itself() -> None:
    failed: list[Key] = []

    def let_both_go(key: Key, _: Reason) -> None:
        failed.append(key)
        for each in both:
            rig.holdings.drop(each, CONFIRM_WITHIN_NS)

    rig = Rig(let_both_go)
    vips = (Vip("web", "eth0", 51, ("10.0.0.1/24",)), Vip("dns", "eth0", 52, ("10.0.0.2/24",)))
    both = members(Config(vip=vips), {})
    rig.holdings.configure(both)
    for member in both.values():
        rig.holdings.hold(member, 0)
    rig.holdings.flush(0)
    rig.holdings.flush(CONFIRM_WITHIN_NS)
    assert failed == [("web", 4)]


def test_an_address_lost_on_the_way_is_verified_and_announced_again(rig: Rig) -> None:
    rig.holdings.hold(rig.member, 0)
    rig.holdings.flush(0)
    rig.answer(PLACE)
    rig.holdings.observed(AddressRemoved(PLACE))
    assert rig.holdings.held("web") == ()
    rig.holdings.flush(1)
    assert rig.last.verify
    rig.answer(PLACE, restored=(PLACE,))
    assert rig.types() == ["vip-acquired", "address-restored"]


def test_a_netlink_failure_is_tried_again_later_not_at_once(rig: Rig) -> None:
    rig.holdings.hold(rig.member, 0)
    rig.holdings.flush(0)
    rig.answer(problem="no answer")
    asked = len(rig.submitted)
    rig.holdings.flush(1)
    assert len(rig.submitted) == asked
    rig.holdings.flush(NS_PER_S)
    assert rig.last.verify


def test_a_recreated_interface_gets_the_addresses_under_its_new_index(rig: Rig) -> None:
    rig.holdings.hold(rig.member, 0)
    rig.holdings.flush(0)
    rig.answer(PLACE)
    rig.interfaces.dump_ended([Link(9, "eth0", 1, 0x43, 6)], [])
    rig.holdings.hold(rig.member, 1)
    rig.holdings.flush(1)
    assert {place.ifindex for place in rig.last.wanted} == {9}
    assert not rig.holdings.confirmed(KEY)
