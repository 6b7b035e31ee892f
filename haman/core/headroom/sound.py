"""What of a report can be believed: a number that makes no sense is unknown, with the reason.

Reports are authenticated, and may be wrong all the same: another version, a broken clock, a counter
that ran over. Nonsense must neither raise nor look like room.

What a node has granted to another, and has not arrived there yet, counts as load that it has.
"""

from dataclasses import field, replace

from haman.core.frozen import dataclass
from haman.core.reports import NodeReport, PeerView, StormReport
from haman.core.words import Condition, Utilization

HUGE = 1e15
TINY = 1e-9
"""Nothing that is divided by is less than this."""
CLIENTS_MAX = 1e9
COST_MAX_S = 1.0
CORES_MAX = 65_536
TIMEOUT_MAX_S = 86_400.0
AGE_MAX_MS = 1e15
PRIORITY_MAX = 255
WEIGHT_MAX = 2**32 - 1

_ABLE = (Condition.IN_SERVICE, Condition.SATURATED, Condition.DRAINED)


@dataclass(frozen=True, slots=True)
class Node:
    """A node, as far as its word can be believed.

    Attributes:
        report: None = there is none to decide upon, and `silence` says why.
        resources: by name, only those that make sense; what is reserved on them counts as used.
        nonsense: why a resource does not, by name.
        awaited: clients for which it has granted room, and that have not come yet.
        clients: connected now; None = `clients_problem` says why it is not known.
        storm: None = `storm_problem` says why.
    """

    name: str
    report: NodeReport | None
    silence: str = ""
    resources: dict[str, Utilization] = field(default_factory=dict)
    nonsense: dict[str, str] = field(default_factory=dict)
    clients: float | None = None
    clients_problem: str = ""
    awaited: float = 0.0
    storm: StormReport | None = None
    storm_problem: str = ""

    @property
    def site(self) -> str:
        """Its failure domain; "" = none is known."""
        return self.report.site if self.report is not None else ""

    @property
    def able(self) -> bool:
        """Whether it could serve: drained nodes as a last resort, a silent one counts as full."""
        return self.report is not None and self.report.condition in _ABLE


def sound(view: PeerView) -> Node:
    """What can be believed of a peer, or of this node itself."""
    report = view.report
    if report is None:
        return Node(view.name, None, "no report from it yet")
    if not _within(view.age_ms, AGE_MAX_MS):
        return Node(view.name, None, f"its last report is {view.age_ms:g} ms old, which cannot be")
    if not view.fresh:
        return Node(view.name, None, f"its last report is {view.age_ms / 1000:.1f} s old")
    if problem := _standing_problem(view.name, report):
        return Node(view.name, None, f"its report makes no sense: {problem}")
    resources, nonsense = _resources(report)
    clients, clients_problem = _clients(report, resources, nonsense)
    storm, storm_problem = _storm(report)
    return Node(
        view.name,
        report,
        resources=resources,
        nonsense=nonsense,
        clients=clients,
        clients_problem=clients_problem,
        awaited=report.permits.reserved_clients if report.permits is not None else 0.0,
        storm=storm,
        storm_problem=storm_problem,
    )


def _within(value: float | None, most: float, least: float = 0.0) -> bool:
    return value is not None and least <= value <= most  # no NaN is


def _standing_problem(name: str, report: NodeReport) -> str:
    """What decides who takes over must be right as a whole, or the load goes elsewhere."""
    if report.node != name:
        return f"it is of {report.node}"
    for vip in report.vips:
        if not _within(vip.priority, PRIORITY_MAX):
            return f"priority {vip.priority} for {vip.vip}"
    for said in report.anycast:
        weights = (said.weight, said.full_weight)
        if not all(_within(w, WEIGHT_MAX) for w in weights) or not _within(
            said.neighbors_up, CLIENTS_MAX
        ):
            return f"weight {said.weight} of {said.full_weight} for {said.service}"
    permits = report.permits
    if permits is not None and not _within(permits.reserved_clients, CLIENTS_MAX):
        return f"it awaits {permits.reserved_clients:g} clients"
    return ""


def _resources(report: NodeReport) -> tuple[dict[str, Utilization], dict[str, str]]:
    found: dict[str, Utilization] = {}
    nonsense: dict[str, str] = {}
    reserved = report.permits.reserved if report.permits is not None else {}
    for each in report.resources:
        more = reserved.get(each.name, 0.0)
        if each.name in found:
            nonsense[each.name] = "it is told twice"
        elif each.used is not None and not _within(each.used, HUGE):
            nonsense[each.name] = f"{each.used:g} {each.unit} cannot be used"
        elif each.ceiling is not None and not _within(each.ceiling, HUGE, TINY):
            nonsense[each.name] = f"{each.ceiling:g} {each.unit} is no ceiling"
        elif not _within(each.age_ms, AGE_MAX_MS):
            nonsense[each.name] = f"its reading is {each.age_ms:g} ms old, which cannot be"
        elif not _within(more, HUGE):
            nonsense[each.name] = f"{more:g} {each.unit} cannot be reserved"
        used = each.used
        found[each.name] = replace(each, used=used + more) if used is not None and more else each
    return {name: each for name, each in found.items() if name not in nonsense}, nonsense


def _clients(
    report: NodeReport, resources: dict[str, Utilization], nonsense: dict[str, str]
) -> tuple[float | None, str]:
    said: float | None = report.connections
    if said is None and "connections" in resources:
        said = resources["connections"].used
    if said is None:
        why = nonsense.get("connections", "how many clients it has is not known")
        return None, f"{report.node}: {why}"
    if not _within(said, CLIENTS_MAX):
        return None, f"{report.node}: it cannot have {said:g} clients"
    return said, ""


def _storm(report: NodeReport) -> tuple[StormReport | None, str]:
    said = report.storm
    if said is None:
        return None, f"{report.node} does not tell what handshakes cost it"
    wrong = [
        f"{name} {value:g}"
        for name, value, most in (
            ("full_s", said.full_s, COST_MAX_S),
            ("resumed_s", said.resumed_s, COST_MAX_S),
            ("client_timeout_s", said.client_timeout_s, TIMEOUT_MAX_S),
            ("connection_bytes", said.connection_bytes, HUGE),
            ("cores", 1.0 if said.cores is None else said.cores, CORES_MAX),
            ("backlog", 1.0 if said.backlog is None else said.backlog, HUGE),
        )
        if not _within(value, most, TINY)
    ]
    wrong += [
        f"{name} {value:g}"
        for name, value, most in (
            ("resumed_share", said.resumed_share, 1.0),
            ("waiting", said.waiting, HUGE),
        )
        if not _within(value, most)
    ]
    if wrong:
        return None, f"{report.node} tells {', '.join(wrong)}, which cannot be"
    # Taking off too little of the lost load errs to the safe side.
    return replace(said, base={n: b for n, b in said.base.items() if _within(b, HUGE)}), ""
