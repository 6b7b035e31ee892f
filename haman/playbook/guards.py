"""Whether a node may be taken out, whether it came back, and whether the cluster got worse. Pure.

Everything is compared with the cluster as it was when the run began: what was bad then is not the
run's doing, and does not have to become good.
"""

from collections.abc import Collection

from haman.api import schema
from haman.api.leftover import served

WELL = {"in-service", "saturated"}
RANK = {"ok": 0, "degraded": 1, "down": 2, "conflict": 3}
ROOM_ALERTS = {"n-minus-1"}
"""Whether there is room for a loss changes with the clients: it is the guard of the next node that asks."""
ROOM = {"ok": 0, "tight": 1, "unknown": 1, "insufficient": 2}


def may_leave(
    now: schema.Status, node: str, loss: schema.Scenario, meant_out: tuple[str, ...], *, force: bool
) -> list[str]:
    """Why a node may not be taken out now; [] = it may.

    Args:
        now: the cluster.
        node: who would leave.
        loss: what the loss of all that would then be out comes to.
        meant_out: nodes that the run itself has left drained.
        force: even where the rest could not carry the load.
    """
    if node not in {n.name for n in now.nodes}:
        return [f"{now.node} knows no node {node}"]
    away = [
        f"{n.name} is {_condition(n)}, and never two nodes are out at once"
        for n in now.nodes
        if n.name not in {node, *meant_out} and (n.condition not in WELL or n.drained)
    ]
    broken = [f"{s.name} is {s.state}" for s in now.services if RANK.get(s.state, 2) >= 2]
    if loss.verdict == "insufficient" and not force:
        told = [r.text for r in loss.reasons] or [_loads(loss)]
        away += [f"{'; '.join(told)} (--force goes below N−1)"]
    return away + broken


def worse(
    before: schema.Status, now: schema.Status, out: tuple[str, ...], *, settled: bool
) -> list[str]:
    """What got worse since `before`; [] = nothing.

    Args:
        before: the cluster when the run began.
        now: the cluster.
        out: nodes at work, or meant to be out: their own state says nothing.
        settled: all that is to serve should be back, so that services must be as good as they were.
    """
    was = {n.name: n.condition for n in before.nodes}
    # In a pair the other one is alone while a node is at work.
    well = WELL if settled else WELL | {"isolated"}
    found = [
        f"{n.name} is {_condition(n)}"
        for n in now.nodes
        if n.name not in out and n.condition not in well and was.get(n.name) in WELL
    ]
    if not settled:
        found += [
            f"{n.name} is saturated"
            for n in now.nodes
            if n.name not in out and n.condition == "saturated" and was.get(n.name) == "in-service"
        ]
    states = {s.name: s.state for s in before.services}
    # Who was drained before and still is stands by for nobody, once another than he is fit to serve.
    drained = {n.name for n in before.nodes if n.drained} & {n.name for n in now.nodes if n.drained}
    for service in now.services:
        allowed = RANK.get(states.get(service.name, "ok"), 0)
        if not settled or len(out) or drained:
            allowed = max(allowed, RANK["degraded"])
        if RANK.get(service.state, 2) > allowed:
            found.append(f"{service.name} is {service.state}")
    known = {(a.code, a.node, a.service) for a in before.alerts}
    ignored = ROOM_ALERTS if settled and not out else ROOM_ALERTS | {"isolated"}
    found += [
        a.text
        for a in now.alerts
        if a.severity == "critical"
        and a.code not in ignored
        and a.node not in out
        and (a.code, a.node, a.service) not in known
    ]
    return list(dict.fromkeys(found))


def missing(before: schema.Status, now: schema.Status, node: str) -> list[str]:
    """What a node does not do yet that it did when the run began; [] = it serves as before."""
    was = next((n for n in before.nodes if n.name == node), None)
    found = next((n for n in now.nodes if n.name == node), None)
    if found is None:
        return [f"{now.node} does not know {node}"]
    told = []
    if (was is None or was.condition in WELL) and found.condition not in WELL:
        told.append(f"{node} is {_condition(found)}")
    if found.drained and not (was and was.drained):
        told.append(f"{node} is drained")
    if was is not None and was.proxy.up and not found.proxy.up:
        told.append(f"the proxy of {node} is down")
    told += [
        f"{node} is {_part(now, service, node) or 'nothing'} of {service}, not {part}"
        for service, part in _parts(before, node).items()
        if not _as_good(part, _part(now, service, node))
    ]
    return list(dict.fromkeys(told))


def serving_nothing(now: schema.Status, node: str, beside: Collection[str] = ()) -> list[str]:
    """What a node still serves beside some services; [] = nothing."""
    return [f"{node} still serves {text}" for text in served(now, node, beside)]


def stranded(now: schema.Status, out: tuple[str, ...]) -> list[str]:
    """VIPs that are configured on no node but these."""
    return [
        s.name
        for s in now.services
        if s.kind == "vip" and s.members and {m.node for m in s.members} <= set(out)
    ]


def last_resort(now: schema.Status, node: str) -> list[str]:
    """VIPs that a drained node serves on, for all others that have them are drained, too."""
    drained = tuple(n.name for n in now.nodes if n.drained)
    alone = stranded(now, drained) if node in drained else []
    return [
        s.name
        for s in now.services
        for m in s.members
        if s.name in alone
        and m.node == node
        and m.role == "active"
        and any(r.code == "last-resort" for r in m.reasons)
    ]


def as_last_resort(node: str, vips: list[str]) -> str:
    """Say of a drained node what stays."""
    names = ", ".join(vips)
    return f"{node} goes on to serve {names} as the last resort: no node that is left has it"


def _condition(node: schema.Node) -> str:
    why = f" ({node.reasons[0].text})" if node.reasons else ""
    return f"{'drained' if node.drained else node.condition}{why}"


def _loads(loss: schema.Scenario) -> str:
    return f"without {', '.join(loss.lost)} the rest could not carry the load"


def _parts(status: schema.Status, node: str) -> dict[str, str]:
    """What a node is to each service that it has a part in."""
    return {
        s.name: m.role or m.stance
        for s in status.services
        for m in s.members
        if m.node == node and (m.role or m.stance)
    }


def _part(status: schema.Status, service: str, node: str) -> str:
    return _parts(status, node).get(service, "")


def _as_good(was: str, now: str) -> bool:
    """Whether a part is as good as it was; which node holds a VIP is not the point."""
    ranks = {"active": 2, "tail": 2, "backup": 2, "full": 2, "reduced": 1, "shut": 0}
    return ranks.get(now, -1) >= ranks.get(was, -1)
