"""What a playbook or drill would mean for headroom, worked out before it is confirmed. Pure.

A preview only: the run's own guards look again, by fresher numbers, before each node leaves.
"""

from dataclasses import dataclass, replace

from haman.api.schema import Scenario, Status
from haman.core.headroom import Verdict
from tui.runs import Order
from tui.views.words import listing, without

_WORST_FIRST = (Verdict.INSUFFICIENT, Verdict.UNKNOWN, Verdict.TIGHT, Verdict.OK)
NAMED_MAX = 6


@dataclass(frozen=True, slots=True)
class RunPlan:
    """An order, and what it does to the cluster on the screen.

    Attributes:
        effects: whom it concerns, one line each.
        loss: the nodes that are out at once, in the worst case; () = none.
        verdict: of headroom meanwhile; "" where nobody leaves.
        numbers: that headroom in words.
        words: what would happen, as the program tells it.
    """

    order: Order
    title: str
    effects: tuple[str, ...]
    words: tuple[str, ...]
    loss: tuple[str, ...] = ()
    verdict: str = ""
    numbers: tuple[str, ...] = ()


def run_plan(status: Status, order: Order) -> RunPlan:
    """Put it together; `order.offer` has the order's values."""
    offer = order.offer
    known = tuple(n.name for n in status.nodes if offer.site in {"", n.site})
    nodes = order.nodes or offer.nodes or known
    plan = RunPlan(order, f"Run {offer.name}", (), offer.words)
    if offer.kind == "drill":
        here = f"It breaks {_named(nodes)} of the lab {offer.lab} on this machine, on purpose."
        ours = set(nodes) <= {n.name for n in status.nodes}
        other = (here, "The cluster on this screen is another one.")
        if not ours:
            return replace(plan, effects=other)
        told = (here, "The figures are of the cluster on this screen, if that is the lab.")
        return _with_worst(replace(plan, effects=told), status, nodes)
    if not offer.takes_out:
        return replace(
            plan, effects=(f"It works on {_named(nodes)}; none of them leaves service.",)
        )
    if offer.stays_out:
        effects = (f"{_named(nodes)}: drained one by one, and all of them stay out.",)
        return _with(replace(plan, effects=effects, loss=nodes), status)
    one_by_one = (
        f"{_named(nodes)}: out of service one at a time, never two.",
        "A node leaves only if all others are in service, and N−1 holds without it.",
    )
    return _with_worst(replace(plan, effects=one_by_one), status, nodes)


def with_figures(plan: RunPlan, scenario: Scenario) -> RunPlan:
    """The plan with what the agent says of its loss."""
    return replace(plan, verdict=scenario.verdict, numbers=without(scenario))


def _with_worst(plan: RunPlan, status: Status, nodes: tuple[str, ...]) -> RunPlan:
    """The plan with the figures of that node whose loss is the worst."""
    ranks = {verdict: place for place, verdict in enumerate(_WORST_FIRST)}
    found = [s for s in status.headroom.scenarios if len(s.lost) == 1 and s.lost[0] in nodes]
    if not found:
        return _with(replace(plan, loss=nodes[:1]), status)

    def badness(scenario: Scenario) -> tuple[int, float]:
        used = [s.utilization or 0.0 for s in scenario.survivors]
        return ranks.get(Verdict(scenario.verdict), 0), -max(used, default=0.0)

    return _with(replace(plan, loss=min(found, key=badness).lost), status)


def _with(plan: RunPlan, status: Status) -> RunPlan:
    scenario = next((s for s in status.headroom.scenarios if s.lost == plan.loss), None)
    if scenario is None:
        told = ("the agent has worked out no numbers for this",)
        return replace(plan, verdict="unknown", numbers=told)
    return with_figures(plan, scenario)


def _named(nodes: tuple[str, ...]) -> str:
    return listing(nodes) if len(nodes) <= NAMED_MAX else f"{len(nodes)} nodes"
