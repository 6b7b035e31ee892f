"""Alerts of anycast and BGP: each there when it is true, and not otherwise."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from haman.core.alerts import Picture, derive
from haman.core.announcements import AnycastReport, AnycastStance, ExabgpReport, NeighborReport
from haman.core.anycast_alerts import BgpPicture
from haman.core.facts import EngineReported
from haman.core.headroom import Headroom, Verdict
from haman.core.readback import Finding
from haman.core.reports import NodeReport, PeerView
from haman.core.words import Condition, Reason, Stance

WHY = Reason("wrong-password", "TCP MD5: no answer")
UP = (NeighborReport("tor1", "10.0.1.1", "up", bfd="up"), NeighborReport("tor2", "10.0.2.1", "up"))
TOR1_DOWN = (replace(UP[0], session="down", reasons=(WHY,), bfd="down"), UP[1])
ALL_DOWN = (TOR1_DOWN[0], replace(UP[1], session="connecting"))
RUNNING = ExabgpReport(running=True, configuration="d1", pid=9, starts=1)


def edge(stance: Stance = Stance.FULL, up: int = 2, *reasons: Reason) -> AnycastReport:
    return AnycastReport("edge", stance, 100, 100, 1, neighbors_up=up, reasons=reasons)


def node(name: str, said: AnycastReport | None = None, **more) -> NodeReport:
    services = (said or edge(),)
    return NodeReport(
        name, "", "1", Condition.IN_SERVICE, anycast=services, **({"neighbors": UP} | more)
    )


def view(report: NodeReport, *, fresh: bool = True) -> PeerView:
    return PeerView(report.node, report, 10.0, fresh)


FULL = AnycastStance("edge", Stance.FULL, 100, held=True)
QUIET = Picture(
    own=node("lb1"),
    peers=(view(node("lb2")), view(node("lb3"))),
    headroom=Headroom(Verdict.OK),
    engine=EngineReported(1, ()),
    engine_age_ms=10,
    anycast=("edge",),
    bgp=BgpPicture(relay=True, exabgp=RUNNING, wanted=(FULL,)),
)
GONE = edge(Stance.WITHDRAWN, 2, Reason("relay-not-reached", "the relay is not reached"))
SHUT = edge(Stance.SHUT)


def own(picture: Picture, said: AnycastReport, **more) -> Picture:
    return replace(picture, own=node("lb1", said, **more))


def peers(picture: Picture, *reports: NodeReport, fresh: bool = True) -> Picture:
    return replace(picture, peers=tuple(view(r, fresh=fresh) for r in reports))


def bgp(picture: Picture, **more) -> Picture:
    assert picture.bgp is not None
    return replace(picture, bgp=replace(picture.bgp, **more))


def drained(picture: Picture) -> Picture:
    return bgp(picture, wanted=(replace(FULL, stance=Stance.WITHDRAWN, weight=0),))


def alerts(picture: Picture) -> list[tuple[str, str, str, str]]:
    return [(a.code, str(a.severity), a.node, a.service) for a in derive(picture, (), 1)]


CASES: list[tuple[str, Callable[[Picture], Picture], list[tuple[str, str, str, str]]]] = [
    ("quiet", lambda p: p, []),
    ("one of three is out", lambda p: peers(p, node("lb2", GONE), node("lb3")), []),
    (
        "one is left",
        lambda p: peers(p, node("lb2", GONE), node("lb3", SHUT)),
        [("degraded", "warning", "", "edge")],
    ),
    (
        "one is left of those that are heard",
        lambda p: peers(p, node("lb2"), fresh=False),
        [("peer-lost", "critical", "lb2", ""), ("degraded", "warning", "", "edge")],
    ),
    ("a single node", peers, [("single-node", "warning", "", "")]),
    (
        "only shut ones",
        lambda p: drained(own(peers(p, node("lb2", SHUT)), SHUT)),
        [("degraded", "warning", "", "edge")],
    ),
    (
        "nobody",
        lambda p: drained(own(peers(p, node("lb2", GONE)), GONE)),
        [("no-holder", "critical", "", "edge")],
    ),
    (
        "nobody that is heard",
        lambda p: drained(own(peers(p, node("lb2"), fresh=False), GONE)),
        [("peer-lost", "critical", "lb2", "")],
    ),
    ("should announce", lambda p: own(p, GONE), [("not-announced", "warning", "lb1", "edge")]),
    ("no router hears it", lambda p: own(p, edge(up=0)), [("not-announced", "warning", "lb1", "edge")]),
    (
        "one session",
        lambda p: own(p, edge(up=1), neighbors=TOR1_DOWN),
        [("bgp-session-down", "warning", "lb1", "")],
    ),
    (
        "all sessions of a peer",
        lambda p: peers(p, node("lb2", edge(up=0), neighbors=ALL_DOWN), node("lb3")),
        [("bgp-session-down", "critical", "lb2", "")],
    ),
    (
        "sessions that nobody tells of",
        lambda p: peers(p, node("lb2", neighbors=tuple(replace(n, session="unknown") for n in UP))),
        [],
    ),
    (
        "BFD while BGP is up",
        lambda p: own(p, edge(), neighbors=(replace(UP[0], bfd="init"), UP[1])),
        [("bfd-down", "warning", "lb1", "")],
    ),
    ("BFD is shut down", lambda p: own(p, edge(), neighbors=(replace(UP[0], bfd="admin-down"),)), []),
    (
        "ExaBGP is down, which explains the relay",
        lambda p: bgp(p, relay=False, problem="no relay", exabgp=replace(RUNNING, running=False)),
        [("exabgp-down", "critical", "lb1", "")],
    ),
    (
        "the relay is lost",
        lambda p: bgp(p, relay=False, problem="no relay"),
        [("relay-lost", "critical", "lb1", "")],
    ),
    (
        "a configuration is refused",
        lambda p: bgp(p, relay=False, problem="password_file: No such file", exabgp=None),
        [("announcement-problem", "warning", "lb1", "")],
    ),
    (
        "a command is not acknowledged",
        lambda p: bgp(p, problem="no ack for 2 s"),
        [("announcement-problem", "warning", "lb1", "")],
    ),
    (
        "read back",
        lambda p: bgp(p, findings=(Finding("weight-ignored", "edge", "", "evenly", {}),)),
        [("weight-ignored", "warning", "", "edge")],
    ),
    ("no part in BGP", lambda p: replace(p, bgp=None, anycast=()), []),
]  # fmt: skip


@pytest.mark.parametrize(("change", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_alerts(change: Callable[[Picture], Picture], expected: list) -> None:
    assert alerts(change(QUIET)) == expected


def test_before_the_engine_spoke_nobody_is_missed() -> None:
    silent = replace(drained(own(peers(QUIET, node("lb2", GONE)), GONE)), engine=None)
    assert alerts(silent) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda p: own(p, edge(up=1), neighbors=TOR1_DOWN),
            "lb1: the session with tor1 is down: TCP MD5: no answer",
        ),
        (
            lambda p: bgp(p, exabgp=replace(RUNNING, running=False, problem="exit 1, no helper")),
            "ExaBGP does not run: exit 1, no helper",
        ),
        (
            lambda p: own(p, GONE),
            "edge should be full on lb1, and no router hears it: the relay is not reached",
        ),
        (
            lambda p: peers(p, node("lb2", GONE), node("lb3", GONE)),
            "edge is announced by lb1 alone, of 3 nodes",
        ),
    ],
)
def test_words(change: Callable[[Picture], Picture], text: str) -> None:
    assert [a.text for a in derive(change(QUIET), (), 1)] == [text]
