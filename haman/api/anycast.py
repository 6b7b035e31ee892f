"""Anycast services as machines see them: who announces, at which weight, and what that comes to.

    word        means
    ----------  ----------------------------------------------------------------------------------
    heard       its announcement reaches a router: a stance other than withdrawn, a session up
    holders     who gets the traffic: heard at full or reduced; if nobody is, those heard at shut
                (routers take the least preferred route when there is no other)
    expected    the nodes that have the service, but for those that the operator drained
    share       of the new connections, by the weights of the holders

A service is ok when every expected node holds it. It is degraded when one does not, when only one
holds it where several could, when only shut announcements are left, or when a holder lacks an
address on its interface. It is down when nobody that is known of holds it: a peer that is not
heard is a memory, and a memory is no holder.
"""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_interface

from haman.api import plain, schema
from haman.api.times import iso
from haman.config.model import Config
from haman.controller.surface import ClusterSnapshot
from haman.core.announcements import AnycastReport, BfdReport, NeighborReport
from haman.core.frozen import dataclass
from haman.core.handover.steering import TAIL
from haman.core.reports import NodeReport
from haman.core.words import Condition, Reason, Stance

SERVING = (Stance.FULL, Stance.REDUCED)


@dataclass(frozen=True, slots=True)
class Part:
    """What one node is to one anycast service, as far as this agent knows.

    Attributes:
        said: None = the node never reported.
        current: the report is young enough to believe.
        node_reasons: why the node is in its condition.
    """

    node: str
    said: AnycastReport | None
    current: bool
    age_ms: float = 0.0
    condition: Condition = Condition.STALE
    drained: bool = False
    reasons: tuple[Reason, ...] = ()
    node_reasons: tuple[Reason, ...] = ()
    neighbors: tuple[NeighborReport, ...] = ()

    @property
    def stance(self) -> Stance | None:
        """The one in force; None where it is not known now."""
        return self.said.stance if self.current and self.said is not None else None

    @property
    def heard(self) -> bool:
        """A router hears its announcement, as far as is known now."""
        if not self.current or self.said is None:
            return False
        return self.said.stance is not Stance.WITHDRAWN and self.said.neighbors_up > 0


@dataclass(frozen=True, slots=True)
class Picture:
    """One anycast service over the whole cluster.

    Attributes:
        parts: this node first, then the peers.
    """

    name: str
    parts: tuple[Part, ...]
    prefixes: tuple[str, ...]

    @property
    def weighted(self) -> bool:
        """Weights decide: routers share equally as soon as one holder sends none."""
        return all(p.said.weighted for p in self.parts if p.said and p.node in self.holders)

    @property
    def holders(self) -> tuple[str, ...]:
        """Name the nodes that get the traffic."""
        heard = [p for p in self.parts if p.heard]
        serving = [p for p in heard if p.stance in SERVING]
        return tuple(p.node for p in serving or heard)

    @property
    def expected(self) -> tuple[Part, ...]:
        """The nodes that should announce."""
        return tuple(p for p in self.parts if not p.drained)

    @property
    def shares(self) -> dict[str, float]:
        """The fraction of new connections that each holder should get."""
        holders = self.holders
        weights = {p.node: p.said.weight for p in self.parts if p.said and p.node in holders}
        total = sum(weights.values())
        if not self.weighted or not total:
            return {node: 1 / len(weights) for node in weights}
        return {node: weight / total for node, weight in weights.items()}

    @property
    def state(self) -> str:
        """Judge it: ok, degraded or down."""
        if not self.holders:
            return "down"
        return "degraded" if self.lacks else "ok"

    @property
    def lacks(self) -> tuple[Reason, ...]:
        """Say what it lacks to be ok, in the order in which it matters; () = it is."""
        return tuple(_lacks(self))


def service_names(snapshot: ClusterSnapshot, config: Config) -> tuple[str, ...]:
    """Every anycast service of the cluster: the configured ones, then those only peers have."""
    names = dict.fromkeys(service.name for service in config.anycast)
    for peer in snapshot.peers:
        if peer.report is not None:
            names.update(dict.fromkeys(said.service for said in peer.report.anycast))
    return tuple(names)


def picture(name: str, snapshot: ClusterSnapshot, config: Config) -> Picture:
    """Put together what is known of one service."""
    configured = next((s for s in config.anycast if s.name == name), None)
    parts = tuple(_parts(name, snapshot, configured=configured is not None))
    if configured is not None:
        return Picture(name, parts, configured.prefixes)
    prefixes = next((p.said.prefixes for p in parts if p.said), ())
    return Picture(name, parts, prefixes)


def service(found: Picture) -> schema.Service:
    """Show one service."""
    return schema.Service(
        name=found.name,
        kind="anycast",
        mode="active-active",
        state=found.state,
        holders=found.holders,
        expected=len(found.expected),
        members=tuple(_member(part, found.shares.get(part.node)) for part in found.parts),
        prefixes=found.prefixes,
        reasons=plain.reasons(found.lacks),
    )


def neighbors(
    report: NodeReport, age_ms: float, bfd: tuple[BfdReport, ...] = (), *, fresh: bool
) -> tuple[schema.Neighbor, ...]:
    """Show the BGP neighbours of a node; `bfd` is what its engine says, where that is known.

    What a node that is not heard said of its sessions is a memory: they are unknown now.
    """
    diagnosed = {b.neighbor: b for b in bfd}
    found = []
    for said in report.neighbors:
        reasons = said.reasons if fresh else (plain.stale(age_ms, said.session),)
        found.append(
            schema.Neighbor(
                name=said.name,
                address=said.address,
                session=said.session if fresh else "unknown",
                since=iso(said.since_ns) if fresh and said.since_ns > 0 else "",
                reasons=plain.reasons(reasons),
                bfd=said.bfd if fresh or not said.bfd else "unknown",
                bfd_reason=diagnostic(diagnosed.get(said.name)),
            )
        )
    return tuple(found)


def since(said: AnycastReport) -> str:
    """Write since when stance and weight last; "" where that is not known."""
    return iso(said.since_ns) if said.since_ns > 0 else ""


def _parts(name: str, snapshot: ClusterSnapshot, *, configured: bool) -> Iterator[Part]:
    own = snapshot.own
    if configured:
        here = own.service(name) or AnycastReport(name, Stance.WITHDRAWN, 0, 0, 0)
        yield _part(snapshot.node, own, here, current=True)
    for peer in snapshot.peers:
        age_ms = plain.age(peer.age_ms)
        if peer.report is None:
            # It may well have the service: nobody knows yet.
            yield Part(peer.name, None, False, age_ms, reasons=(plain.no_report(peer),))
        elif said := peer.report.service(name):
            yield _part(peer.name, peer.report, said, current=peer.fresh, age_ms=age_ms)


def _part(
    node: str, report: NodeReport, said: AnycastReport, *, current: bool, age_ms: float = 0.0
) -> Part:
    old = () if current else (plain.stale(age_ms, said.stance.value),)
    return Part(
        node=node,
        said=said,
        current=current,
        age_ms=age_ms,
        condition=report.condition if current else Condition.STALE,
        drained=report.drained,
        reasons=(*old, *(_with_left(r, said.connections_left) for r in said.reasons)),
        node_reasons=report.reasons,
        neighbors=report.neighbors if current else (),
    )


def _with_left(reason: Reason, left: int | None) -> Reason:
    """The reason of a tail, with what changes all the time and is no part of a decision."""
    if reason.code != TAIL or left is None:
        return reason
    text = f"{reason.text}; {left} left"
    return replace(reason, text=text, data=reason.data | {"connections_left": left})


def _member(part: Part, share: float | None) -> schema.Member:
    said = part.said
    if said is None:
        return schema.Member(node=part.node, reasons=plain.reasons(part.reasons))
    return schema.Member(
        node=part.node,
        since=since(said),
        reasons=plain.reasons(part.reasons),
        stance=said.stance.value,
        weight=said.weight,
        full_weight=said.full_weight,
        share=0.0 if share is None and part.current else share,
        routers=said.neighbors_up if part.current else 0,
        connections_left=said.connections_left if part.current else None,
    )


def _lacks(found: Picture) -> Iterator[Reason]:
    holders = found.holders
    if not holders:
        remembered = [
            p.node for p in found.parts if not p.current and p.said and p.said.stance in SERVING
        ]
        text = "no router hears it from any node"
        if remembered:
            text = "no router hears it from a node that reports; when last heard, "
            text += f"{plain.listing(remembered)} announced it"
        yield Reason("no-announcer", text)
    elif all(p.stance not in SERVING for p in found.parts if p.node in holders):
        verb = "announces" if len(holders) == 1 else "announce"
        text = f"{plain.listing(holders)} {verb} it shut, as the last resort"
        yield Reason("last-resort", text)
    elif len(holders) == 1 and len(found.parts) > 1:
        yield Reason("last-announcer", f"nobody else announces it if {holders[0]} is lost")
    for part in found.parts:
        yield from _in_part(part)
    for part in found.expected:
        if part.node not in holders:
            yield Reason("not-announcing", f"{part.node} {absence(part)}", {"node": part.node})


def absence(part: Part) -> str:
    """Say why a node that should announce does not: what follows its name."""
    if part.said is None:
        return "has not been heard yet"
    if not part.current:
        return plain.stale(part.age_ms, part.said.stance.value).text.replace("; it", ", it")
    why = next(iter((*part.reasons, *part.node_reasons)), None)
    because = f": {why.text.rstrip('.')}" if why else ""
    if part.stance in SERVING:  # and yet no router hears it
        troubled = [n for n in part.neighbors if n.session != "up"]
        if len(troubled) != 1:
            return f"is {part.stance}, but none of its routers hears it"
        return f"is {part.stance}, but {session(troubled[0])}"
    return f"is {part.said.stance}{because}"


def session(found: NeighborReport) -> str:
    """Say how a session that is not up stands: "the session with tor1 (10.0.1.1) is down: …"."""
    why = f": {'; '.join(r.text.rstrip('.') for r in found.reasons)}" if found.reasons else ""
    return f"the session with {found.name} ({found.address}) is {found.session}{why}"


def _in_part(part: Part) -> Iterator[Reason]:
    """What a node lacks of what it announces."""
    if missing := _not_held(part):
        text = f"{part.node} announces {plain.listing(missing)} and has no such address"
        yield Reason("not-held", text, {"node": part.node})
    if part.heard and part.said is not None and part.said.unheard:
        text = f"no router hears {plain.listing(part.said.unheard)} from {part.node}"
        yield Reason("half-heard", text, {"node": part.node})


def _not_held(part: Part) -> tuple[str, ...]:
    """Host prefixes that a node announces and has not on its interface: a black hole."""
    if part.said is None or not part.heard:
        return ()
    held = {ip_interface(address).ip for address in part.said.held}
    # Its own: another node's configuration may be a reload ahead.
    wanted = [ip_interface(prefix) for prefix in part.said.prefixes]
    return tuple(str(w) for w in wanted if w.network.num_addresses == 1 and w.ip not in held)


def diagnostic(found: BfdReport | None) -> str:
    """Say why a BFD session is not up, here or in the words of RFC 5880; "" where nothing is known."""
    if found is None or found.state == "up":
        return ""
    ours, theirs = found.diagnostic, found.remote_diagnostic
    told = [found.problem] if found.problem else []
    told += [ours] if ours else []
    told += [f"the router says: {theirs}"] if theirs else []
    return "; ".join(told)
