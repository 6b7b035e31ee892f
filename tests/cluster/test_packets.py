"""Packets: what goes in comes out, nothing else gets in, and all of it fits a datagram."""

import hashlib
import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haman.cluster.packets import (
    BODY_BYTES_MAX,
    UNPACKED_BYTES_MAX,
    Answer,
    Hello,
    Order,
    Packet,
    Released,
    Report,
    decode,
    encode,
    permit_packet,
)
from haman.core import permits
from haman.core.announcements import AnycastReport, NeighborReport
from haman.core.facts import VipReport
from haman.core.permits import PermitId
from haman.core.reports import NodeReport, PermitReport, StormReport
from haman.core.words import Condition, Confidence, Reason, Role, Stance, Utilization


def words(about: object, size: int) -> str:
    """Text that does not pack well, and is the same each time."""
    return hashlib.shake_256(str(about).encode()).hexdigest(size // 2)


REASON = Reason("proxy-died", "proxy haproxy pid 123 died", {"pid": 123, "age_s": 0.5, "how": "x"})
REPORT = NodeReport(
    node="lb1",
    site="ams1",
    version="0.1.0",
    condition=Condition.SATURATED,
    reasons=(REASON,),
    proxy_kind="haproxy",
    proxy_version="2.6.12",
    proxy_up=True,
    resources=(
        Utilization("cpu", 0.41, 1.0, "cores", Confidence.MEASURED, 120.0),
        Utilization("tls", None, None, "core-s/s"),
    ),
    connections=812,
    vips=(VipReport("web", Role.ACTIVE, 150, 1, (REASON,), ("10.77.0.100/24",), "10.77.0.12", 9),),
    drained=True,
    addresses={"web": ("10.77.0.100/24",)},
    new_connections_per_s=41.5,
    anycast=(
        AnycastReport(
            "edge",
            Stance.REDUCED,
            50,
            100,
            1,
            ("192.0.2.100/32",),
            (),
            1,
            (REASON,),
            weighted=False,
        ),
    ),
    neighbors=(NeighborReport("tor1", "10.0.1.1", "down", 1, (REASON,), "init"),),
    storm=StormReport(
        2.0,
        433e-6,
        201e-6,
        5.0,
        Confidence.CALIBRATED,
        tickets_shared=True,
        backlog=4096,
        base={"cpu": 0.02},
    ),
    permits=PermitReport(("edge",), "dns", "lb2", {"cpu": 0.2}, 12.5),
)
PERMIT = PermitId(1_795_000_000_000_000_000, 3)
PERMITS = (
    permits.Ask(
        PERMIT, "edge", 0.4, 19, {"cpu": 0.9}, 812.0, moved=True, stance=Stance.SHUT, weight=100
    ),
    permits.Answer(PERMIT, granted=False, reasons=(REASON,), final=False),
    permits.End(PERMIT),
    permits.Revoke(PERMIT, (REASON,)),
)


@pytest.mark.parametrize(
    "packet",
    [
        Report(REPORT),
        Released("web", "lb2", (REASON,)),
        Order("00ff", "failover", "web", "lb2", force=True, by="root"),
        Answer("00ff", "unsafe", "no", (REASON,)),
        Hello(),
        *map(permit_packet, PERMITS),
    ],
)
def test_packet_survives_the_way(packet: Packet) -> None:
    body = encode(packet)
    assert body is not None
    assert decode(body) == packet


def test_a_report_of_an_older_version_tells_nothing_of_storms_and_permits() -> None:
    tag, report = msgspec.msgpack.decode(encode(Report(REPORT)) or b"")
    del report["storm"], report["permits"]
    found = decode(msgspec.msgpack.encode([tag, report]))
    assert isinstance(found, Report)
    assert found.report.storm is None
    assert found.report.permits is None


@pytest.mark.parametrize("message", PERMITS)
def test_what_a_later_version_adds_to_permits_is_passed_over(message: permits.Message) -> None:
    tag, fields = msgspec.msgpack.decode(encode(permit_packet(message)) or b"")
    later = msgspec.msgpack.encode([tag, fields | {"colour": "blue"}, "and more"])
    assert decode(later) == permit_packet(message)


@pytest.mark.parametrize("message", PERMITS)
def test_a_permit_without_its_id_is_none(message: permits.Message) -> None:
    tag, fields = msgspec.msgpack.decode(encode(permit_packet(message)) or b"")
    assert decode(msgspec.msgpack.encode([tag, fields | {"id": "7"}])) is None


def test_a_wordy_denial_is_cut_down() -> None:
    wordy = tuple(Reason(f"c{n}", words(n, 2000)) for n in range(10))
    for message in (
        permits.Answer(PERMIT, granted=False, reasons=wordy),
        permits.Revoke(PERMIT, wordy),
    ):
        body = encode(permit_packet(message))
        assert body is not None
        assert len(body) <= BODY_BYTES_MAX
        assert decode(body) is not None


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_none(body: bytes) -> None:
    decode(body)


@given(st.data())
def test_damaged_report_decodes_or_is_none(data: st.DataObject) -> None:
    body = bytearray(encode(Report(REPORT)) or b"")
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    decode(bytes(body))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode(["report", {"node": 1}]),
        msgspec.msgpack.encode(["order", "1", "reboot"]),
        msgspec.msgpack.encode(["unknown"]),
        b"\x91" * 5000,
    ],
)
def test_wrong_bodies_are_none(body: bytes) -> None:
    assert decode(body) is None


def test_large_report_loses_data_first_then_length() -> None:
    data: dict[str, int | float | str] = {f"n{n}": words(n, 2000) for n in range(20)}
    wordy = NodeReport(
        "lb1", "", "1", Condition.FAULT, tuple(Reason(f"c{n}", "text", data) for n in range(10))
    )
    body = encode(Report(wordy))
    assert body is not None
    assert len(body) <= BODY_BYTES_MAX
    cut = decode(body)
    assert isinstance(cut, Report)
    assert [(r.code, r.text, r.data) for r in cut.report.reasons] == [
        (f"c{n}", "text", {}) for n in range(10)
    ]
    long = NodeReport(
        "lb1", "", "1", Condition.FAULT, tuple(Reason(f"c{n}", words(n, 4000)) for n in range(10))
    )
    body = encode(Report(long))
    assert body is not None
    cut = decode(body)
    assert isinstance(cut, Report)
    assert [len(r.text) for r in cut.report.reasons] == [120, 120, 120]


def test_report_that_stays_too_large_is_none() -> None:
    many = tuple(VipReport(words(n, 200), Role.BACKUP, 1, 1) for n in range(100))
    assert encode(Report(NodeReport("lb1", "", "1", Condition.FAULT, vips=many))) is None


def test_wordy_anycast_of_a_large_node_fits() -> None:
    """40 services of two prefixes with 8 routers, everything down and everything explained."""

    def wordy(about: str) -> tuple[Reason, ...]:
        return tuple(Reason(f"down-{n}", words((about, n), 600), {"to": "tor"}) for n in range(10))

    prefixes = ("203.0.113.100/32", "2001:db8:ffff:ffff::ffff:100/128")
    anycast = tuple(
        AnycastReport(f"s{n}", Stance.REDUCED, 50, 100, 1, prefixes, prefixes, 2, wordy(f"s{n}"))
        for n in range(40)
    )
    routers = tuple(
        NeighborReport(f"tor{n}", "2001:db8:ffff:ffff::1", "down", 1, wordy(f"tor{n}"), "init")
        for n in range(8)
    )
    whole = NodeReport(
        "lb1", "", "1", Condition.FAULT, wordy("lb1"), anycast=anycast, neighbors=routers
    )
    body = encode(Report(whole))
    assert body is not None
    cut = decode(body)
    assert isinstance(cut, Report)
    assert [len(a.reasons) for a in cut.report.anycast] == [1] * 40
    assert [len(n.reasons) for n in cut.report.neighbors] == [1] * 8
    assert len(cut.report.reasons[0].text) == 120


def test_a_report_of_as_many_vips_as_a_link_can_have_fits_and_loses_nothing() -> None:
    silent = Reason("silent", "nothing was heard for 361 ms (3 × 100 ms + 60.94 ms)", {"ms": 361.0})
    vips = tuple(
        VipReport(f"vr{n}", Role.ACTIVE, 150, n, (silent,), (f"10.78.0.{n}/32",), "10.77.0.12", 100)
        for n in range(1, 256)
    )
    own = {vip.vip: vip.held for vip in vips}
    report = Report(
        NodeReport("lb1", "", "1", Condition.IN_SERVICE, vips=vips, addresses=own, sources=own)
    )
    body = encode(report)
    assert body is not None
    assert len(body) <= BODY_BYTES_MAX < len(msgspec.msgpack.encode(report))
    assert decode(body) == report


def test_what_was_looked_up_in_a_report_is_not_sent_along() -> None:
    before = encode(Report(REPORT))
    assert REPORT.vip("web") is REPORT.vips[0]
    assert REPORT.vip("dns") is None
    assert encode(Report(REPORT)) == before


def test_a_report_that_fits_as_it_is_can_be_read_by_any_version() -> None:
    assert encode(Report(REPORT)) == msgspec.msgpack.encode(Report(REPORT))


@pytest.mark.parametrize(
    "packed",
    [
        zlib.compress(msgspec.msgpack.encode(Report(REPORT)))[:-1],
        zlib.compress(msgspec.msgpack.encode(["unknown"])),
        b"no zlib",
        zlib.compress(msgspec.msgpack.encode(["report", " " * UNPACKED_BYTES_MAX])),
    ],
    ids=["cut off", "no packet", "not packed", "a bomb"],
)
def test_what_is_packed_wrongly_is_none(packed: bytes) -> None:
    assert decode(b"\xc1" + packed) is None
