"""The answer to `why` for an anycast service: who announces it at which weight, and why not others.

The headline first, then a line for each node, holders before the others: its stance, since when and
because of what, the share that it should get, and what its routers hear of it.
"""

from collections.abc import Sequence

from haman.api import anycast, plain, schema, view
from haman.api.anycast import Part, Picture
from haman.api.times import NS_PER_S, clock, duration
from haman.controller.surface import ClusterSnapshot, JournalEntry
from haman.core.announcements import BfdReport, NeighborReport
from haman.core.frozen import dataclass
from haman.core.words import Reason, Stance, percent

EVENTS_MAX = 10

_SHUT = "65535:0, so that routers prefer anybody else"


@dataclass(frozen=True, slots=True)
class _Tale:
    """What every line of one story needs."""

    found: Picture
    snapshot: ClusterSnapshot

    def bfd(self, part: Part) -> dict[str, BfdReport]:
        """What the engine says of BFD, where the node is this one."""
        engine = self.snapshot.engine
        if engine is None or part.node != self.snapshot.node:
            return {}
        return {b.neighbor: b for b in engine.bfd}

    def since(self, since_ns: int) -> str:
        now_ns = self.snapshot.at_ns
        if since_ns <= 0:
            return ""
        return f" since {clock(since_ns, now_ns)} ({duration((now_ns - since_ns) / NS_PER_S)})"


def why(found: Picture, snapshot: ClusterSnapshot, journal: Sequence[JournalEntry]) -> schema.Why:
    """Tell the story of an anycast service; `journal` is the last entries, oldest first."""
    tale = _Tale(found, snapshot)
    events = tuple(e for e in journal if _bears_upon(e, found.name))[-EVENTS_MAX:]
    holders, shares = found.holders, found.shares
    return schema.Why(
        service=found.name,
        state=found.state,
        text=_headline(found),
        members=tuple(
            schema.WhyMember(
                node=part.node,
                serves=part.node in holders,
                role="",
                since=anycast.since(part.said) if part.said else "",
                reasons=plain.reasons(part.reasons),
                text=_member(tale, part, shares.get(part.node)),
                stance=part.said.stance.value if part.said else "",
                weight=part.said.weight if part.said else 0,
                share=shares.get(part.node),
            )
            for part in sorted(found.parts, key=lambda p: p.node not in holders)
        ),
        events=tuple(view.event(e) for e in events),
    )


def _bears_upon(entry: JournalEntry, name: str) -> bool:
    event = entry.event
    return event.service == name or (not event.service and plain.is_routing(event.type))


def _headline(found: Picture) -> str:
    holders, lacks = found.holders, [r.text for r in found.lacks]
    told = f"{found.name} is {found.state}: "
    if not holders or any(r.code == "last-resort" for r in found.lacks):
        return told + "; ".join(lacks)
    verb = "announces" if len(holders) == 1 else "announce"
    who = f"{plain.listing(holders)} {verb} it"
    if (expected := len(found.expected)) > len(holders):
        who += f", {len(holders)} of {expected} that should"
    return told + "; ".join([who, *lacks])


def _member(tale: _Tale, part: Part, share: float | None) -> str:
    said = part.said
    if said is None:
        return f"{part.node} has not been heard yet."
    if not part.current:
        heard = duration(part.age_ms / 1000)
        return f"{part.node} is stale: last heard {heard} ago, it was {said.stance} then."
    bfd = tale.bfd(part)
    lines = [
        _stance(tale, part, share),
        *(_neighbor(tale, n, bfd.get(n.name)) for n in part.neighbors),
    ]
    return " ".join(line for line in [*lines, *_exabgp(tale, part)] if line)


def _stance(tale: _Tale, part: Part, share: float | None) -> str:
    said = part.said
    assert said is not None
    since = tale.since(said.since_ns)
    reasons = part.reasons or (() if said.stance is Stance.FULL else part.node_reasons)
    causes = _texts(tuple(r for r in reasons if r.code != plain.SESSION_DOWN))
    because = f": {'; '.join(causes)}" if causes else ""
    if said.stance is Stance.WITHDRAWN:
        return plain.sentence(f"{part.node} is withdrawn{since}{because}")
    gets = "no router hears it" if share is None else f"{percent(share)} of new connections"
    weight = f"weight {said.weight}, " if tale.found.weighted else ""
    what = {
        Stance.FULL: f"in full ({weight}{gets})",
        Stance.REDUCED: f"reduced (weight {said.weight} of {said.full_weight}, {gets})",
    }.get(said.stance, f"shut ({_SHUT})")
    if said.stance is Stance.SHUT and (share is not None or not part.heard):
        what = f"shut (65535:0; {gets})"
    return plain.sentence(f"{part.node} announces it {what}{since}{because}")


def _neighbor(tale: _Tale, found: NeighborReport, bfd: BfdReport | None) -> str:
    """Say what is wrong with a router; "" if nothing is."""
    if found.session != "up":
        too = f", BFD {found.bfd}" if found.bfd and found.bfd != "up" else ""
        head, colon, rest = anycast.session(found).partition(": ")
        head = head[:1].upper() + head[1:]
        return plain.sentence(f"{head}{tale.since(found.since_ns)}{too}{colon}{rest}")
    if found.reasons:  # it flaps
        told = "; ".join(_texts(found.reasons))
        return plain.sentence(
            f"The session with {found.name} ({found.address}) is up{tale.since(found.since_ns)}: {told}"
        )
    if found.bfd and found.bfd not in {"up", "admin-down"}:
        why = f": {text}" if (text := anycast.diagnostic(bfd)) else ""
        return plain.sentence(
            f"The session with {found.name} ({found.address}) is up, but BFD is {found.bfd}{why}"
        )
    return ""


def _exabgp(tale: _Tale, part: Part) -> list[str]:
    """What the engine says of ExaBGP, where it is this node's own."""
    engine = tale.snapshot.engine
    if part.node != tale.snapshot.node or engine is None or engine.exabgp is None:
        return []
    problem = engine.exabgp.problem.rstrip(".")
    if not engine.exabgp.running:
        return [f"ExaBGP does not run{': ' + problem if problem else ''}."]
    return [f"ExaBGP runs again; {problem}."] if problem else []


def _texts(reasons: tuple[Reason, ...]) -> list[str]:
    return list(dict.fromkeys(r.text.rstrip(".") for r in reasons if r.text))
