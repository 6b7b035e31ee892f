"""Alerts of anycast and BGP; the table of all alerts is in `alerts`."""

from collections.abc import Iterator

from haman.core.announcements import AnycastStance, ExabgpReport, NeighborReport
from haman.core.because import listed
from haman.core.frozen import dataclass
from haman.core.readback import Finding
from haman.core.reports import NodeReport, PeerView
from haman.core.shares import carries
from haman.core.words import Alert, Severity, Stance

_BFD_NOT_UP = ("down", "init")


@dataclass(frozen=True, slots=True)
class BgpPicture:
    """What this node alone knows of its part in BGP.

    Attributes:
        relay: the relay is reached.
        problem: of the announcer; "" if all is well.
        exabgp: the engine's word; None = it was not told to run any.
        wanted: what was decided, in force or not.
        findings: of the read back.
    """

    relay: bool = False
    problem: str = ""
    exabgp: ExabgpReport | None = None
    wanted: tuple[AnycastStance, ...] = ()
    findings: tuple[Finding, ...] = ()


def service_alerts(
    services: tuple[str, ...], reports: list[NodeReport], peers: tuple[PeerView, ...]
) -> Iterator[Alert]:
    """Whether anycast services are announced; `reports` are those that speak of the present."""
    remembered = [p.report for p in peers if p.report is not None and not p.fresh]
    for name in services:
        members = [r for r in [*reports, *remembered] if r.service(name) is not None]
        serving = [r.node for r in reports if name in carries(r)]
        shut = sorted(r.node for r in reports if _is_shut(r, name))
        if len(serving) == 1 and len(members) > 1:
            text = f"{name} is announced by {serving[0]} alone, of {len(members)} nodes"
            yield _alert("degraded", Severity.WARNING, text, service=name)
        elif not serving and shut:
            text = f"{name} is announced as shut only, by {listed(shut)}: the last resort"
            yield _alert("degraded", Severity.WARNING, text, service=name)
        elif not serving and all(p.fresh for p in peers):
            text = f"{name} is announced by no node"
            yield _alert("no-holder", Severity.CRITICAL, text, service=name)


def _is_shut(report: NodeReport, service: str) -> bool:
    said = report.service(service)
    return said is not None and said.stance is Stance.SHUT and said.neighbors_up > 0


def session_alerts(reports: list[NodeReport]) -> Iterator[Alert]:
    """BGP and BFD sessions, of every node that is heard."""
    for report in reports:
        # What the relay does not tell is not known to be down; there is an alert for the relay.
        down = [n for n in report.neighbors if n.session not in {"up", "unknown"}]
        if down:
            every = len(down) == len(report.neighbors)
            severity = Severity.CRITICAL if every else Severity.WARNING
            text = f"{report.node}: {'; '.join(_said(n) for n in down)}"
            yield _alert("bgp-session-down", severity, text, report.node)
        deaf = [n for n in report.neighbors if n.session == "up" and n.bfd in _BFD_NOT_UP]
        if deaf:
            names = ", ".join(f"{n.name} ({n.bfd})" for n in deaf)
            text = (
                f"{report.node}: BFD is not up with {names}, whose BGP session is: if one of them "
            )
            text += "dies, it takes the BGP hold time to notice; is BFD configured there?"
            yield _alert("bfd-down", Severity.WARNING, text, report.node)


def _said(neighbor: NeighborReport) -> str:
    why = f": {neighbor.reasons[0].text}" if neighbor.reasons else ""
    return f"the session with {neighbor.name} is {neighbor.session}{why}"


def bgp_alerts(picture: BgpPicture, own: NodeReport) -> Iterator[Alert]:
    """ExaBGP, the relay, and what they do not do of what was decided."""
    exabgp, node = picture.exabgp, own.node
    if exabgp is not None and not exabgp.running:
        text = f"ExaBGP does not run: {exabgp.problem or 'it is being started'}"
        yield _alert("exabgp-down", Severity.CRITICAL, text, node)
    elif exabgp is not None and not picture.relay:
        text = (
            "ExaBGP runs, and its relay is not reached: what is announced cannot be changed, and "
        )
        text += "is shut and then withdrawn when its lease is over"
        yield _alert("relay-lost", Severity.CRITICAL, text, node)
    elif picture.problem:
        yield _alert("announcement-problem", Severity.WARNING, picture.problem, node)
    for wanted in picture.wanted:
        said = own.service(wanted.service)
        if said is None or wanted.stance is Stance.WITHDRAWN:
            continue
        if said.stance is Stance.WITHDRAWN or not said.neighbors_up:
            why = said.reasons[0].text if said.reasons else "no router hears it"
            text = f"{wanted.service} should be {wanted.stance} on {node}, and no router hears it: {why}"
            yield _alert("not-announced", Severity.WARNING, text, node, wanted.service)
        elif said.unheard:
            text = (
                f"no router hears {', '.join(said.unheard)} of {wanted.service} from {node}: it is"
            )
            text += " not counted on to serve"
            yield _alert("not-announced", Severity.WARNING, text, node, wanted.service)
    for finding in picture.findings:
        yield _alert(finding.code, Severity.WARNING, finding.text, finding.node, finding.service)


def _alert(code: str, severity: Severity, text: str, node: str = "", service: str = "") -> Alert:
    return Alert(code, severity, text, 0, node, service)
