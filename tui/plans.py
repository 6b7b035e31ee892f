"""What an operator's wish would do, worked out before it is asked of the agent, and how it goes then.

A preview only: the agent decides anew, by fresher numbers, and may refuse. Progress is read off the
statuses that come afterwards, never assumed.
"""

from dataclasses import dataclass, replace

from haman.api.schema import Intent, Member, Scenario, Service, Status
from haman.core.words import Condition, Role
from tui.source import Verb
from tui.views.type import percent
from tui.views.words import listing, loss, without

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
        verdict: of headroom afterwards; "" where the act does not touch it.
        numbers: that headroom in words, one line per survivor.
        loss: the nodes whose loss the act amounts to; () = none.
        held: the services that must find another holder before it is done.
    """

    verb: Verb
    intent: Intent
    title: str
    action: str
    typed: str
    effects: tuple[str, ...]
    verdict: str = ""
    numbers: tuple[str, ...] = ()
    loss: tuple[str, ...] = ()
    held: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that must come true; `now` says how it stands until then."""

    text: str
    done: bool
    now: str = ""


def drain_plan(status: Status, node: str) -> Plan:
    """Taking `node` out of service."""
    effects = [text for s in status.services if (text := _leaves(status, s, node))]
    if not effects:
        effects.append(f"{node} holds nothing; it leaves every election.")
    effects.append(f"{node} stays drained, over restarts too, until undrain.")
    return _with_loss(
        status,
        Plan(
            verb="drain",
            intent=Intent(node=node),
            title=f"Drain {node}",
            action="Drain",
            typed=node,
            effects=tuple(effects),
            loss=(node,),
            held=tuple(s.name for s in status.services if node in s.holders),
        ),
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
    effects.append(_kept(status, holder))
    plan = Plan(
        verb="failover",
        intent=Intent(vip=service.name, to=to),
        title=f"Fail {service.name} over" + (f" to {to}" if to else ""),
        action="Fail over",
        typed=service.name,
        effects=tuple(effects),
        loss=(holder,) if holder else (),
        held=(service.name,),
    )
    return _with_loss(status, plan)


def undrain_plan(status: Status, node: str) -> Plan:
    """Putting `node` back into service."""
    services = [s for s in status.services if any(m.node == node for m in s.members)]
    effects = [f"{node} may serve again, as soon as its proxy is well."]
    for service in services:
        if service.kind == "vip":
            effects.append(
                f"{service.name}: {node} stands by, and takes it if it is preferred and may preempt."
            )
        else:
            effects.append(f"{service.name}: {node} announces it again; traffic comes back.")
    return Plan(
        verb="undrain",
        intent=Intent(node=node),
        title=f"Undrain {node}",
        action="Undrain",
        typed=node,
        effects=tuple(effects),
        numbers=(f"now, without {node}: {loss(status, 200)}",),
    )


def pause_plan(status: Status) -> Plan:
    """Holding automatic moves."""
    return Plan(
        verb="pause",
        intent=Intent(),
        title="Pause automatic moves",
        action="Pause",
        typed="pause",
        effects=(
            "No node sheds load and none preempts, on every node that is heard, until resume.",
            "Faults move services all the same.",
        ),
        numbers=(f"meanwhile: {loss(status, 200)}",),
    )


def resume_plan(status: Status) -> Plan:
    """Letting automatic moves go on."""
    held = [n.name for n in status.nodes if n.condition == Condition.SATURATED]
    effects = ["Nodes may shed load and preempt again, on every node that is heard."]
    if held:
        effects.append(f"{listing(tuple(held))} may ask to give load away at once.")
    return Plan(
        verb="resume",
        intent=Intent(),
        title="Resume automatic moves",
        action="Resume",
        typed="resume",
        effects=tuple(effects),
    )


def with_scenario(plan: Plan, scenario: Scenario) -> Plan:
    """The plan with what the agent says of its loss now."""
    return replace(plan, verdict=scenario.verdict, numbers=without(scenario))


def progress(plan: Plan, status: Status) -> tuple[Step, ...]:
    """What must come true for the wish to be done, in the order in which it does."""
    match plan.verb:
        case "drain":
            return (_drained(plan.intent.node, status), *_moved(plan, status))
        case "undrain":
            return (_in_service(plan.intent.node, status),)
        case "failover":
            return tuple(_moved(plan, status))
        case "pause":
            return (Step("automatic moves are held", status.paused),)
        case "resume":
            return (Step("automatic moves go on", not status.paused),)


def _drained(name: str, status: Status) -> Step:
    node = next((n for n in status.nodes if n.name == name), None)
    return Step(f"{name} is drained", node is not None and node.drained, _condition(status, name))


def _in_service(name: str, status: Status) -> Step:
    node = next((n for n in status.nodes if n.name == name), None)
    well = node is not None and not node.drained and node.condition in ABLE
    return Step(f"{name} is in service", well, _condition(status, name))


def _condition(status: Status, name: str) -> str:
    node = next((n for n in status.nodes if n.name == name), None)
    return node.condition if node else "not known any more"


def _moved(plan: Plan, status: Status) -> list[Step]:
    """Each service that was held is held by others, or by the node that was named."""
    to = plan.intent.to
    steps = []
    for name in plan.held:
        service = next((s for s in status.services if s.name == name), None)
        holders = service.holders if service else ()
        away = bool(holders) and not set(plan.loss) & set(holders)
        done = to in holders and len(holders) == 1 if to else away
        whom = listing(holders) or "nobody"
        text = f"{name} is served by {whom if done else to or 'another node'}"
        steps.append(Step(text, done, f"by {whom}"))
    return steps


def _with_loss(status: Status, plan: Plan) -> Plan:
    """The plan with the figures of the N−1 scenario that it amounts to, as the status has them."""
    scenario = next((s for s in status.headroom.scenarios if s.lost == plan.loss), None)
    if scenario is None:
        return replace(
            plan, verdict="unknown", numbers=("the agent has worked out no numbers for this",)
        )
    return with_scenario(plan, scenario)


def _kept(status: Status, holder: str) -> str:
    node = next((n for n in status.nodes if n.name == holder), None)
    many = f" ({node.connections:,} clients now)" if node and node.connections else ""
    return f"Established connections stay with the old holder to their end{many}."


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
    return f"{service.name} is handed over to {heir}; established connections stay on {node} to their end."


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
        if m.node != holder and m.node in able and m.role in {Role.BACKUP, Role.ACTIVE, Role.TAIL}
    ]
    return max(backups, key=lambda m: m.priority).node if backups else ""
