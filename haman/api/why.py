"""The answer to `why`: who serves, since when, because of what, and why not the others.

One true story, out of the members' own reasons and the last events of the journal: the headline
first, then a line for each node, holders before the others. What made a node what it is comes after
the colon; what only holds besides (a pause, isolation) follows as a sentence of its own.
"""

import re
from collections.abc import Sequence

from haman.api import anycast, plain, schema, view, why_anycast
from haman.api.times import NS_PER_S, clock, duration
from haman.config.model import Config
from haman.controller.surface import ClusterSnapshot, JournalEntry
from haman.core.frozen import dataclass
from haman.core.words import Reason, Role

EVENTS_MAX = 10

_BESIDES = frozenset(
    {"isolated", "last-resort", "paused", "saturated-holding", "stale", "yielded", "drained"}
)
"""Codes of reasons that say how a node in the election acts, not how it came to its role."""
_ADDRESS = re.compile(r"[0-9A-Fa-f.:]*[0-9A-Fa-f]")


@dataclass(frozen=True, slots=True)
class _Tale:
    """What every line of one story needs."""

    name: str
    parts: tuple[view.Part, ...]
    serving: tuple[str, ...]
    events: tuple[JournalEntry, ...]
    snapshot: ClusterSnapshot
    names: dict[str, str]

    def text(self, reason: Reason) -> str:
        """Its text, with the node's name where it has a node's address."""

        def named(found: re.Match[str]) -> str:
            node = self.names.get(found[0])
            return f"{node} ({found[0]})" if node else found[0]

        return _ADDRESS.sub(named, reason.text.rstrip("."))

    def since(self, part: view.Part) -> str:
        since_ns, now_ns = part.vip.since_ns if part.vip else 0, self.snapshot.at_ns
        if since_ns <= 0:
            return ""
        return f" since {clock(since_ns, now_ns)} ({duration((now_ns - since_ns) / NS_PER_S)})"


def why(
    snapshot: ClusterSnapshot, config: Config, journal: Sequence[JournalEntry], name: str
) -> schema.Why | None:
    """Tell the story of a VIP or an anycast service.

    Args:
        snapshot: the cluster now.
        config: this node's.
        journal: the last entries, oldest first; those of other services are left out.
        name: of the service.

    Returns:
        None if there is no such service.
    """
    if name in anycast.service_names(snapshot, config):
        return why_anycast.why(anycast.picture(name, snapshot, config), snapshot, journal)
    if name not in view.vip_names(snapshot, config):
        return None
    parts = view.parts(snapshot, config, name)
    serving = view.holders(parts)
    state = view.service_state(parts, view.addresses_of(name, snapshot, config))
    events = tuple(e for e in journal if e.event.service == name)[-EVENTS_MAX:]
    tale = _Tale(name, parts, serving, events, snapshot, _names(config))
    return schema.Why(
        service=name,
        state=state,
        text=_headline(tale, state, view.addresses_of(name, snapshot, config)),
        members=tuple(
            schema.WhyMember(
                node=part.node,
                serves=part.node in serving,
                role=part.vip.role.value if part.vip else "",
                since=view.since(part.vip) if part.vip else "",
                reasons=plain.reasons(part.reasons),
                text=_holder(tale, part) if part.node in serving else _other(tale, part),
            )
            for part in sorted(parts, key=lambda p: p.node not in serving)
        ),
        events=tuple(view.event(e) for e in events),
    )


def _names(config: Config) -> dict[str, str]:
    """Nodes by the addresses on which the cluster talks, which are mostly those of VRRP too."""
    known = {config.cluster.listen: config.node.name}
    known |= {address: peer.name for peer in config.cluster.peer for address in peer.addresses}
    return {address.rpartition(":")[0].strip("[]"): name for address, name in known.items()}


def _headline(tale: _Tale, state: str, addresses: tuple[str, ...]) -> str:
    verdict = "in conflict" if state == "conflict" else state
    told = f"{tale.name} is {verdict}: {_who(tale)}"
    if lacks := view.lacks(tale.parts, addresses):
        return f"{told}; {'; '.join(r.text for r in lacks)}"
    standby = [p.node for p in tale.parts if view.stands_by(p)]
    return f"{told}, {' and '.join(standby)} {_verb(standby)} by" if standby else told


def _verb(nodes: list[str]) -> str:
    return "stands" if len(nodes) == 1 else "stand"


def _who(tale: _Tale) -> str:
    if not tale.serving:
        last = next((e for e in reversed(tale.events) if e.event.type == "vip-released"), None)
        if last is None:
            return "nobody serves it"
        now_ns, at_ns = tale.snapshot.at_ns, last.event.at_ns
        ago = duration((now_ns - at_ns) / NS_PER_S)
        return (
            f"nobody serves it; the last was {last.node}, until {clock(at_ns, now_ns)} ({ago} ago)"
        )
    if not any(p.node in tale.serving for p in tale.parts):
        return f"{tale.serving[0]}, which is no node of this cluster that reports, serves it"
    nodes = " and ".join(tale.serving)
    return f"{nodes} {'serves' if len(tale.serving) == 1 else 'serve'} it"


def _holder(tale: _Tale, part: view.Part) -> str:
    if part.vip is None or not part.current:
        heard = duration(part.age_ms / 1000)
        return f"{part.node} served it when last heard, {heard} ago, and adverts still arrive."
    causes = [r for r in part.reasons if r.code not in _BESIDES]
    if not causes:
        taken = [e for e in tale.events if e.event.type == "vip-acquired" and e.node == part.node]
        causes = [r for r in (taken[-1].event.reasons if taken else ()) if r.code not in _BESIDES]
    cause = f": {tale.text(causes[0])}" if causes else ""
    return f"{part.node} serves it{tale.since(part)}{cause}.{_besides(tale, part)}"


def _other(tale: _Tale, part: view.Part) -> str:
    node, vip = part.node, part.vip
    if vip is None:
        return f"{node} has not been heard yet."
    if not part.current:
        heard = duration(part.age_ms / 1000)
        return f"{node} is stale: last heard {heard} ago, it was {vip.role} then."
    if vip.role is not Role.BACKUP:
        return f"{node} is {vip.role}{tale.since(part)}{_because_out(tale, part)}."
    holder = next((p for p in tale.parts if p.node in tale.serving and p.vip), None)
    versus = ""
    if holder and holder.vip and holder.vip.role is Role.ACTIVE:
        theirs = holder.vip.priority
        order = (
            "below" if vip.priority < theirs else "above" if vip.priority > theirs else "equal to"
        )
        versus = f", {order} {theirs} of {holder.node}"
    return f"{node} stands by with priority {vip.priority}{versus}.{_besides(tale, part)}"


def _because_out(tale: _Tale, part: view.Part) -> str:
    """Why a node is out of the election; not again where the holder's line has just told it."""
    texts = list(dict.fromkeys(tale.text(r) for r in _reasons_out(tale, part) if r.text))
    if not texts:
        return ""
    said = [tale.text(r) for p in tale.parts if p.node in tale.serving for r in p.reasons]
    if any(part.node in text and text.endswith(texts[0]) for text in said):
        texts[0] = "for that reason"
        return f", {'; '.join(texts)}"
    return f": {'; '.join(texts)}"


def _reasons_out(tale: _Tale, part: view.Part) -> tuple[Reason, ...]:
    if part.reasons:
        return part.reasons
    snapshot = tale.snapshot
    if part.node == snapshot.node:
        return snapshot.own.reasons
    found = (p.report.reasons for p in snapshot.peers if p.name == part.node and p.report)
    return next(found, ())


def _besides(tale: _Tale, part: view.Part) -> str:
    notes = [r for r in part.reasons if r.code in _BESIDES]
    if any(r.code == "last-resort" for r in notes):  # which says already that it is drained
        notes = [r for r in notes if r.code != "drained"]
    texts = dict.fromkeys(tale.text(r) for r in notes)
    return "".join(f" {text[:1].upper()}{text[1:]}." for text in texts)
