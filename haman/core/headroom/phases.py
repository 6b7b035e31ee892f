"""The three phases of a loss, for one survivor.

    steady   rates, for as long as the loss lasts: cpu, tls, ports, nic
             own + share of the lost node's dynamic load; what it uses without clients stays behind
    step     stocks, at once: connections, fds, conntrack, memory, and room in the accept queue
    storm    K clients shake hands anew, in full unless ticket sharing was proven:
             drain time = K · cost ÷ (cores · (1 − utilization of cpu)), against half the clients'
             timeout. Successes come in a batch at the end of it, so that beyond the timeout most
             of the work is done for clients that have gone (measured: goodput halves).

Everything is linear in K, the clients of the lost nodes, so each figure also tells how much one
client adds: from that comes the number that could be survived.
"""

import math
from collections.abc import Mapping

from haman.core.headroom.outlook import Outlook
from haman.core.headroom.sound import Node
from haman.core.headroom.verdicts import FULL, STEADY, STEP, STORM, Figure, Gap
from haman.core.reports import StormReport
from haman.core.words import Utilization

RATES = ("cpu", "tls", "ports", "nic")
STOCKS = ("connections", "fds", "conntrack")
MUST_KNOW = ("cpu", "tls", "connections", "fds")
"""Without these nothing can be said of a survivor. Others count where they have a ceiling at all: a
virtual interface, for one, never says how fast it is."""

FDS_PER_CLIENT = 2.0
"""Towards the client and towards the back end."""
IDLE_LEAST = 0.01
"""Of the cores, for the storm: the kernel shares even a full one with newcomers."""


def outlook(
    lost: tuple[Node, ...],
    survivor: Node,
    shares: Mapping[str, float],
    limits: Mapping[str, float] | None = None,
) -> Outlook:
    """What it does to `survivor` to take `shares` of the load of `lost`, by name.

    Args:
        lost: nodes whose load moves, wholly or in part.
        survivor: the one that gets it.
        shares: 0 to 1.
        limits: by resource, where they are others than the default; infinite = it does not count.
    """
    moved = [(node, share) for node in lost if (share := shares.get(node.name, 0.0)) > 0]
    found = Outlook(survivor, max((share for _, share in moved), default=0.0), limits or {})
    for name in RATES + STOCKS:
        if found.limit(name) < math.inf:
            _moved_load(name, moved, found)
    if moved:
        _arrivals(lost, moved, found)
    found.conclude()
    return found


def _moved_load(name: str, moved: list[tuple[Node, float]], found: Outlook) -> None:
    """Own load plus the shares, in native units."""
    survivor = found.survivor
    phase = STEP if moved and name in STOCKS else STEADY
    mine = survivor.resources.get(name)
    own = mine.utilization if mine is not None else None
    if mine is None or own is None:
        if not _concerns(name, survivor, [node for node, _ in moved]):
            return
        found.gaps.append(Gap(name, phase, _problem(name, survivor)))
        return
    added = 0.0
    for node, share in moved:
        theirs = node.resources.get(name)
        if theirs is None or theirs.used is None:
            found.gaps.append(Gap(name, phase, _problem(name, node)))
            return
        if theirs.unit != mine.unit:
            why = f"{node.name} counts {name} in {theirs.unit} and {survivor.name} in {mine.unit}"
            found.gaps.append(Gap(name, phase, why))
            return
        added += share * _dynamic(theirs, node, survivor) / _capacity(mine, survivor, node)
    found.figures.append(Figure(name, phase, own, added, found.limit(name)))


def _concerns(name: str, survivor: Node, lost: list[Node]) -> bool:
    """What nobody senses, its other resources must make up for."""
    if name in MUST_KNOW:
        return any(name in node.resources or name in node.nonsense for node in (survivor, *lost))
    mine = survivor.resources.get(name)
    return name in survivor.nonsense or (mine is not None and mine.ceiling is not None)


def _problem(name: str, node: Node) -> str:
    said = node.resources.get(name)
    why = node.nonsense.get(name) or (said.problem if said is not None else "")
    return f"{name} of {node.name} cannot be told" + (f": {why}" if why else "")


def _per_thread(resource: Utilization, node: Node, other: Node) -> bool:
    """Cpu is that of the hottest thread, and each node may have another number of them."""
    return (
        resource.name == "cpu"
        and resource.ceiling == 1
        and node.storm is not None
        and node.storm.cores is not None
        and other.storm is not None
        and other.storm.cores is not None
    )


def _dynamic(resource: Utilization, node: Node, survivor: Node) -> float:
    """What goes with the clients, in the native unit."""
    base = node.storm.base.get(resource.name, 0.0) if node.storm is not None else 0.0
    used = max(0.0, (resource.used or 0.0) - base)
    if _per_thread(resource, node, survivor) and node.storm is not None:
        return used * (node.storm.cores or 1.0)
    return used


def _capacity(resource: Utilization, survivor: Node, node: Node) -> float:
    if _per_thread(resource, survivor, node) and survivor.storm is not None:
        return survivor.storm.cores or 1.0
    return resource.ceiling or math.inf


def _arrivals(lost: tuple[Node, ...], moved: list[tuple[Node, float]], found: Outlook) -> None:
    """What the clients themselves need: memory, accept queue, handshakes, one descriptor pair each."""
    survivor, storm = found.survivor, found.survivor.storm
    counts = [(node.clients, share) for node, share in moved]
    if any(count is None for count, _ in counts):
        why = "; ".join(node.clients_problem for node, _ in moved if node.clients_problem)
        found.clients = found.drain_s = None
        found.gaps.append(Gap("tls", STORM, why))
        return
    found.clients = sum((count or 0.0) * share for count, share in counts)
    everybody = sum(node.clients or 0.0 for node in lost)
    fraction = found.clients / everybody if everybody else found.share
    _scale_stocks(found, everybody, fraction)
    if storm is None:
        found.drain_s = None
        found.gaps.append(Gap("tls", STORM, survivor.storm_problem))
        return
    _memory(storm, fraction, found)
    _accept_queue(storm, fraction, found)
    _storm(storm, [node for node, _ in moved], fraction, found)


def _scale_stocks(found: Outlook, everybody: float, fraction: float) -> None:
    """How much one client adds to what is counted."""
    for i, figure in enumerate(found.figures):
        mine = found.survivor.resources.get(figure.resource)
        if figure.phase != STEP or mine is None or not mine.ceiling:
            continue
        each = FDS_PER_CLIENT if figure.resource == "fds" else 1.0
        measured = figure.added / everybody if everybody else 0.0
        per_client = measured or fraction * each / mine.ceiling
        found.figures[i] = Figure(
            figure.resource, STEP, figure.own, figure.added, figure.limit, per_client
        )


def _memory(storm: StormReport, fraction: float, found: Outlook) -> None:
    mine = found.survivor.resources.get("memory")
    limit = found.limit("memory")
    if limit == math.inf or not _concerns("memory", found.survivor, []):
        return
    if mine is None or mine.utilization is None:
        found.gaps.append(Gap("memory", STEP, _problem("memory", found.survivor)))
    elif mine.ceiling:
        each = storm.connection_bytes / mine.ceiling
        added = (found.clients or 0.0) * each
        found.figures.append(
            Figure("memory", STEP, mine.utilization, added, limit, fraction * each)
        )


def _accept_queue(storm: StormReport, fraction: float, found: Outlook) -> None:
    if storm.backlog is None:
        found.gaps.append(
            Gap("accept_queue", STEP, f"the backlog of {found.survivor.name} cannot be told")
        )
        return
    each = 1 / storm.backlog
    waiting = storm.waiting + found.survivor.awaited
    own, added = waiting * each, (found.clients or 0.0) * each
    found.figures.append(Figure("accept_queue", STEP, own, added, FULL, fraction * each))


def _storm(storm: StormReport, lost: list[Node], fraction: float, found: Outlook) -> None:
    survivor = found.survivor
    cpu = survivor.resources.get("cpu")
    busy = cpu.utilization if cpu is not None else None
    if storm.cores is None or busy is None:
        what = "cpu" if busy is None else "the number of threads"
        found.drain_s = None
        found.gaps.append(Gap("tls", STORM, f"{what} of {survivor.name} cannot be told"))
        return
    cost_s = max(_cost_s(storm, node.storm) for node in lost)
    each_s = cost_s / (storm.cores * max(1.0 - busy, IDLE_LEAST))
    limit_s = storm.client_timeout_s / 2
    found.cost_s = cost_s
    found.drain_s = (found.clients or 0.0) * each_s
    awaited = survivor.awaited * each_s / limit_s
    found.figures.append(
        Figure("tls", STORM, awaited, found.drain_s / limit_s, FULL, fraction * each_s / limit_s)
    )


def _cost_s(storm: StormReport, lost: StormReport | None) -> float:
    """Of one of their handshakes here; resumption counts only where both ends were proven to share."""
    if lost is None or not (storm.tickets_shared and lost.tickets_shared):
        return storm.full_s
    resumed = lost.resumed_share
    return resumed * min(storm.resumed_s, storm.full_s) + (1.0 - resumed) * storm.full_s
