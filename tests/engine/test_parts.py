"""Small pure parts: interfaces, announcements, lateness, members, events."""

from ipaddress import ip_address
from socket import AF_INET, AF_INET6

import pytest

from haman.config.model import Config, Vip
from haman.core.facts import VipStance
from haman.core.words import Event
from haman.engine.announce import Announcer
from haman.engine.interfaces import Interfaces
from haman.engine.lateness import Lateness
from haman.engine.members import members, read_passwords
from haman.engine.reporter import Reporter
from haman.system import clock
from haman.system.netlink import (
    IFA_F_SECONDARY,
    IFA_F_TENTATIVE,
    AddressAdded,
    AddressRemoved,
    InterfaceAddress,
    Link,
    LinkChanged,
    LinkRemoved,
)

ETH0 = Link(7, "eth0", 1, 0x43, 6, b"\x02" * 6)
MS = 1_000_000
S = 1000 * MS


# ---- interfaces ------------------------------------------------------------------------------------


def v4(text: str, flags: int = 0x80, prefix: int = 24) -> InterfaceAddress:
    return InterfaceAddress(7, AF_INET, text, prefix, flags=flags)


def v6(text: str, scope: int, flags: int = 0x80) -> InterfaceAddress:
    return InterfaceAddress(7, AF_INET6, text, 64, scope, flags)


def host(*addresses: InterfaceAddress) -> Interfaces:
    interfaces = Interfaces(["10.0.0.100"])
    assert interfaces.dump_ended([ETH0], addresses)
    return interfaces


def test_the_source_is_the_primary_address_and_never_a_vip() -> None:
    vip, second, first = v4("10.0.0.100"), v4("10.0.0.2", IFA_F_SECONDARY), v4("10.0.0.1")
    assert host(vip, second, first).source("eth0", 4) == ip_address("10.0.0.1")
    assert host(vip, second).source("eth0", 4) == ip_address("10.0.0.2")
    assert host(vip).source("eth0", 4) is None
    assert host(first).source("eth1", 4) is None


def test_the_ipv6_source_is_link_local_unless_the_peers_are_not() -> None:
    both = host(v6("2001:db8::1", 0), v6("fe80::1", 253))
    assert both.source("eth0", 6) == ip_address("fe80::1")
    assert both.source("eth0", 6, [ip_address("fe80::2")]) == ip_address("fe80::1")
    assert both.source("eth0", 6, [ip_address("2001:db8::2")]) == ip_address("2001:db8::1")
    assert host(v6("fe80::1", 253, IFA_F_TENTATIVE)).source("eth0", 6) is None


def test_the_source_follows_every_change_of_addresses() -> None:
    interfaces = host(v4("10.0.0.1"))
    assert interfaces.source("eth0", 4) == ip_address("10.0.0.1")
    interfaces.apply(AddressRemoved(v4("10.0.0.1")))
    assert interfaces.source("eth0", 4) is None
    interfaces.apply(AddressAdded(v4("10.0.0.2")))
    interfaces.apply(AddressAdded(v4("10.0.0.100")))
    assert interfaces.source("eth0", 4) == ip_address("10.0.0.2")
    assert interfaces.addresses("eth0") == ("10.0.0.2",)
    interfaces.excluded = frozenset({"10.0.0.2"})
    assert interfaces.source("eth0", 4) == ip_address("10.0.0.100")
    assert interfaces.dump_ended([ETH0], [v4("10.0.0.3")])
    assert interfaces.source("eth0", 4) == ip_address("10.0.0.3")
    interfaces.apply(LinkRemoved(ETH0))
    interfaces.apply(LinkChanged(ETH0))
    assert interfaces.source("eth0", 4) is None


def test_troubles_are_named() -> None:
    interfaces = host()
    assert interfaces.trouble("eth0") is None
    absent = interfaces.trouble("eth0", ["eth1"])
    assert absent
    assert absent.code == "interface-absent"
    interfaces.apply(LinkChanged(Link(7, "eth0", 1, 0x03, 2)))
    down = interfaces.trouble("eth0")
    assert down
    assert down.code == "interface-down"


def test_a_renamed_interface_is_another_one() -> None:
    interfaces = host(v4("10.0.0.1"))
    interfaces.apply(LinkChanged(Link(7, "lan0", 1, 0x43, 6)))
    assert interfaces.link("eth0") is None
    assert interfaces.source("lan0", 4) == ip_address("10.0.0.1")
    interfaces.apply(LinkRemoved(Link(7, "lan0", 1, 0)))
    assert interfaces.link("lan0") is None


def test_what_arrives_during_a_dump_is_not_lost() -> None:
    interfaces = host()
    interfaces.dump_began()
    interfaces.apply(AddressAdded(v4("10.0.0.1")))
    interfaces.apply(AddressAdded(v4("10.0.0.2")))
    interfaces.apply(AddressRemoved(v4("10.0.0.2")))
    interfaces.dump_ended([ETH0], [v4("10.0.0.2")])  # the dump is from between
    assert interfaces.source("eth0", 4) == ip_address("10.0.0.1")


def test_a_dump_is_void_when_too_much_arrived_meanwhile() -> None:
    interfaces = host()
    interfaces.dump_began()
    for _ in range(5000):
        interfaces.apply(AddressAdded(v4("10.0.0.1")))
    assert not interfaces.dump_ended([ETH0], [])


def test_renewals_of_vips_do_not_matter() -> None:
    interfaces = host()
    assert not interfaces.apply(AddressAdded(v4("10.0.0.100")))
    assert not interfaces.apply(LinkChanged(ETH0))
    assert interfaces.apply(AddressAdded(v4("10.0.0.1")))
    assert interfaces.apply(LinkChanged(Link(7, "eth0", 1, 0x02, 2)))


def test_a_prefix_is_covered_by_an_own_address_of_the_same_length() -> None:
    interfaces = host(v6("2001:db8::1", 0))
    assert interfaces.covers(v6("2001:db8::100", 0).place)
    assert not interfaces.covers(v6("2001:db9::100", 0).place)


# ---- announcements ---------------------------------------------------------------------------------


def sent_at(count: int, refresh_s: float, until_ns: int) -> list[int]:
    now, at = 0, []
    announcer = Announcer(lambda _key: at.append(now))
    announcer.announce(("web", 4), count=count, refresh_s=refresh_s, now_ns=0)
    while (due := announcer.deadline_ns) is not None and due <= until_ns:
        now = due
        announcer.send_due(now)
    return [ns // MS for ns in at]


def test_a_burst_spreads_out() -> None:
    assert sent_at(1, 0, 60 * S) == [0]
    assert sent_at(5, 0, 60 * S) == [0, 50, 200, 1000, 3000]
    assert sent_at(7, 0, 60 * S) == [0, 50, 200, 1000, 3000, 6000, 9000]


def test_a_refresh_goes_on() -> None:
    assert sent_at(2, 10, 25 * S) == [0, 50, 10_050, 20_050]


def test_a_late_call_sends_once() -> None:
    count = 0

    def send(_key: tuple[str, int]) -> None:
        nonlocal count
        count += 1

    announcer = Announcer(send)
    announcer.announce(("web", 4), count=5, refresh_s=0, now_ns=0)
    announcer.send_due(60 * S)
    assert count == 2
    assert announcer.deadline_ns is None


def test_a_stopped_burst_is_over() -> None:
    announcer = Announcer(lambda _key: None)
    announcer.announce(("web", 4), count=5, refresh_s=1, now_ns=0)
    announcer.stop(("web", 4))
    assert announcer.deadline_ns is None


# ---- lateness --------------------------------------------------------------------------------------


def test_percentiles_are_of_the_last_minute_and_the_histogram_for_ever() -> None:
    lateness = Lateness(0)
    for n in range(100):
        lateness.add(100_000 if n < 98 else 20 * MS, n * MS)
    report = lateness.report(S)
    assert 0.1 <= report.p50_ms <= 0.125
    assert 20 * 0.99 <= report.p99_ms <= 20
    assert report.max_ms == 20
    assert report.count == 100
    buckets = dict(report.buckets)
    assert buckets[0.0001] == 98
    assert buckets[0.01] == 98
    assert buckets[0.025] == 100
    assert report.sum_s == pytest.approx(98 * 0.0001 + 2 * 0.020)
    lateness.add(1000, 100 * S)
    later = lateness.report(100 * S)
    assert later.max_ms == 0.001
    assert later.count == 101


def test_nothing_measured_is_nothing_late() -> None:
    report = Lateness(0).report(S)
    assert (report.p50_ms, report.p99_ms, report.max_ms, report.count) == (0, 0, 0, 0)


# ---- members ---------------------------------------------------------------------------------------


def test_a_vip_of_both_families_is_two_routers_of_one_group() -> None:
    vip = Vip("web", "eth0", 51, ("10.0.0.1/24", "2001:db8::1/64"), unicast_peers=("10.0.0.9",))
    both = members(Config(vip=(vip,)), {})
    assert list(both) == [("web", 4), ("web", 6)]
    assert {m.group for m in both.values()} == {("vip", "web")}
    assert both["web", 4].peers == (ip_address("10.0.0.9"),)
    assert both["web", 6].peers == ()


def test_a_stance_and_the_configuration_must_both_allow_preemption() -> None:
    vip = Vip("web", "eth0", 51, ("10.0.0.1/24",), preempt=False, priority=120)
    member = members(Config(vip=(vip,)), {})["web", 4]
    source = ip_address("10.0.0.9")
    assert not member.router(source, VipStance("web", True, 90, preempt=True)).preempt
    assert member.router(source, VipStance("web", True, 90)).priority == 90
    assert member.router(None, None).priority == 120


def test_passwords_are_eight_bytes_of_the_first_line(tmp_path) -> None:
    path = tmp_path / "password"
    path.write_text("0123456789\nmore\n")
    vip = Vip("web", "eth0", 51, ("10.0.0.1/24",), version=2, auth_password_file=str(path))
    assert read_passwords(Config(vip=(vip,))) == {"web": b"01234567"}


# ---- events ----------------------------------------------------------------------------------------


def test_a_noise_is_told_once_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0
    monkeypatch.setattr(clock, "monotonic_ns", lambda: now)
    events: list[Event] = []
    reporter = Reporter(events.append)
    for _ in range(100):
        reporter.noise("packet-dropped", "x", about="checksum")
    reporter.noise("packet-dropped", "x", about="length")
    assert len(events) == 2
    now = 10 * S
    reporter.noise("packet-dropped", "x", about="checksum")
    assert events[-1].data == {"suppressed": 99}


def test_a_flood_of_different_noises_stays_bounded() -> None:
    reporter = Reporter(lambda _event: None)
    for number in range(5000):
        reporter.noise("x", "x", about=str(number))
    assert len(reporter._noises) <= 1024
