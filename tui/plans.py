"""What an operator's wish would do, worked out before it is asked of the agent.

A preview only: the agent decides anew, by fresher numbers, and may refuse.
"""

from dataclasses import dataclass

from haman.api.schema import Intent, Member, Service, Status
from haman.core.words import Condition, Role
from tui.source import Verb
from tui.views.type import percent
from tui.views.words import listing, without

NAMED_MAX = 4
"""Nodes whose new shares are told one by one."""
ABLE = frozenset({Condition.IN_SERVICE, Condition.SATURATED})


@dataclass(frozen=True, slots=True)
class Plan:
    """A wish, and its consequences in words.

    Attributes:
        title: "Drain lb1".
        action: what the confirming button says.
        typed: the word that a forced act must be confirmed with.
        effects: what will happen, one line each.
        verdict: of the N−1 scenario that the act amounts to.
        numbers: that scenario in words, one line per survivor.
    """

    verb: Verb
    intent: Intent
    title: str
    action: str
    typed: str
    effects: tuple[str, ...]
    verdict: str
    numbers: tuple[str, ...]


def drain_plan(status: Status, node: str) -> Plan:
    """Taking `node` out of service."""
    effects = [text for s in status.services if (text := _leaves(status, s, node))]
    if not effects:
        effects.append(f"{node} holds nothing; it leaves every election.")
    effects.append(f"{node} stays drained, over restarts too, until undrain.")
    verdict, numbers = _numbers(status, node)
    return Plan(
        verb="drain",
        intent=Intent(node=node),
        title=f"Drain {node}",
        action="Drain",
        typed=node,
        effects=tuple(effects),
        verdict=verdict,
        numbers=numbers,
    )


def failover_plan(status: Status, service: Service, to: str) -> Plan:
    """Moving a VIP; `to` is the node under the cursor, which may be the holder itself."""
    holder = service.holders[0] if service.holders else ""
    if to in service.holders:
        to = ""
    target = to or _next(status, service, holder)
    whence = f" from {holder}" if holder else ""
    if target:
        effects = [f"{service.name} moves{whence} to {target}{'' if to else ', the best peer'}."]
    else:
        effects = [f"{service.name} leaves {holder or 'its holder'}; no other node can serve it."]
    effects.append("Established connections to the old holder are cut.")
    verdict, numbers = _numbers(status, holder)
    return Plan(
        verb="failover",
        intent=Intent(vip=service.name, to=to),
        title=f"Fail {service.name} over" + (f" to {to}" if to else ""),
        action="Fail over",
        typed=service.name,
        effects=tuple(effects),
        verdict=verdict,
        numbers=numbers,
    )


def _leaves(status: Status, service: Service, node: str) -> str:
    """What becomes of `service` when `node` leaves; "" if the node does not hold it."""
    if node not in service.holders:
        shut = any(m.node == node and m.stance == "shut" for m in service.members)
        return f"{service.name}: shut here already; withdrawn next." if shut else ""
    if service.kind != "vip":
        return _stops_announcing(service, node)
    heir = _next(status, service, node)
    if not heir:
        return f"{service.name}: no other node can serve; {node} stays as the last resort."
    return f"{service.name} moves to {heir}; established connections to {node} are cut."


def _stops_announcing(service: Service, node: str) -> str:
    """What becomes of an anycast service when `node` leaves, and who gets its traffic."""
    name = service.name
    rest = [m for m in service.members if m.node in service.holders and m.node != node]
    if not rest:
        return f"{name}: no other node announces it; {node} stays, shut, as the last resort."
    text = f"{name}: shut here, then withdrawn; established connections to {node} are cut."
    if len(rest) == 1:
        return f"{text} New ones go to {rest[0].node}, the only one left."
    total = sum(m.share or 0.0 for m in rest)
    told = tuple(f"{m.node} {percent((m.share or 0) / total)}" if total else m.node for m in rest)
    whom = listing(told) if len(told) <= NAMED_MAX else f"{len(told)} other nodes"
    return f"{text} New ones go to {whom}. Routers may move some connections of these, too."


def _next(status: Status, service: Service, holder: str) -> str:
    """The backup that would win the election now; "" if there is none."""
    able = {n.name for n in status.nodes if n.condition in ABLE}
    backups: list[Member] = [
        m
        for m in service.members
        if m.node != holder and m.node in able and m.role in {Role.BACKUP, Role.ACTIVE}
    ]
    return max(backups, key=lambda m: m.priority).node if backups else ""


def _numbers(status: Status, lost: str) -> tuple[str, tuple[str, ...]]:
    """The verdict and the figures of losing `lost`."""
    scenario = next((s for s in status.headroom.scenarios if s.lost == (lost,)), None)
    if scenario is None:
        return "unknown", ("the agent has worked out no numbers for this",)
    return scenario.verdict, without(scenario)
