"""Sentences: what the numbers mean, as an operator would say it."""

from haman.api.schema import Reason, Scenario, Status
from tui.views.type import figure, fit_name, percent

NAME_MAX_W = 40
NAME_SHORT_W = 10


def mode(status: Status) -> str:
    """Whether the cluster's services are held by one node or by several at once."""
    if status.mode:
        return status.mode
    if not status.services:
        return "no services"
    holders = {holder for service in status.services for holder in service.holders}
    spread = any(s.mode == "active-active" for s in status.services)
    return "active-active" if spread or len(holders) > 1 else "active-passive"


def count(number: int, noun: str) -> str:
    """1 node, 2 nodes."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listing(names: tuple[str, ...]) -> str:
    """A, b and c."""
    if len(names) <= 1:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def why_text(reasons: tuple[Reason, ...]) -> str:
    """All the reasons in one line."""
    return "; ".join(r.text for r in reasons)


def loss(status: Status, width: int) -> str:
    """The worst case: "if lb1 is lost, lb2 reaches 93 % of tls (storm)".

    When it is wider than `width`, names are cut first, so that the figure stays in sight.
    """
    text = _loss(status, NAME_MAX_W)
    return text if len(text) <= width else _loss(status, NAME_SHORT_W)


def _loss(status: Status, name_w: int) -> str:
    headroom, worst = status.headroom, status.headroom.worst
    if worst is None:
        scenario = next(
            (s for s in headroom.scenarios if s.verdict == headroom.verdict and s.reasons), None
        )
        if scenario:
            return why_text(scenario.reasons)
        if len(status.nodes) == 1:
            return f"{status.nodes[0].name} is alone: nothing serves if it is lost"
        return "the agent has worked out no numbers"
    scenario = next((s for s in headroom.scenarios if s.lost == worst.lost), None)
    lost = listing(tuple(_cut(name, name_w) for name in worst.lost))
    lead = f"if {lost} {'is' if len(worst.lost) == 1 else 'are'} lost, "
    if not worst.survivor:
        return (why_text(scenario.reasons) if scenario else "") or lead + "no node is left to serve"
    text = lead + reach(
        _cut(worst.survivor, name_w), worst.resource, worst.utilization, worst.phase
    )
    if scenario and scenario.survivable_connections is not None:
        text += f"; {figure(scenario.survivable_connections)} connections can be survived"
    return text


def without(scenario: Scenario) -> tuple[str, ...]:
    """One line per survivor of a loss, worst first; the reasons if nobody survives."""
    if not scenario.survivors:
        return (why_text(scenario.reasons) or "no node is left to serve",)
    told = [reach(s.node, s.resource, s.utilization, s.phase) for s in scenario.survivors]
    if scenario.survivable_connections is not None:
        told.insert(1, f"{scenario.survivable_connections:,} connections can be survived")
    return tuple(told)


def reach(node: str, resource: str, utilization: float | None, phase: str) -> str:
    """Where a survivor's worst resource ends up."""
    if not resource and utilization is not None:
        return f"{node} would have to serve, and it is not heard"
    if utilization is None:
        return f"{node}: its {resource or 'load'} is unknown"
    tail = f" ({phase})" if phase and phase != "steady" else ""
    return f"{node} reaches {percent(utilization)} of {resource}{tail}"


def _cut(name: str, width: int) -> str:
    return fit_name(name, width).rstrip()
