"""The real thing beside the model: the anycast lab in a storm, under three policies.

A scenario of `haman simulate` is played by real clients against real proxies. Each proxy is held to a CPU
quota, so that its capacity is known: what a full handshake costs it is measured first, and the quota is
what the scenario's capacity needs. Ceilings are configured as the model has them.

    nothing   ExaBGP announces every node, whatever comes
    naive     ExaBGP's own healthcheck on each node withdraws it while the proxy takes 90 % of its ceiling of
              full handshakes or more, once a second, and announces it again below that. As in the
              model, there is nothing beneath: what nobody announces is not routed
    haman     load moves by permit

haman runs under the third policy only. What counts is goodput: clients served in time, in each second, at the clients.
"""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
from msgspec import Struct

from haman.core.saturation import Thresholds
from haman.lab import agent, quotas
from haman.lab.anycast_peers import EXABGP, SWIFT, prepare
from haman.lab.clients import TRIES_MAX, Order, Phase, Result
from haman.lab.files import write
from haman.lab.lab import Lab, bring_up, down
from haman.lab.runtime import LabError
from haman.lab.services import CONFIGURATION, Services
from haman.lab.topology import Bind, Topology, read_topology
from haman.sim.fleet.fleet import Fleet
from haman.sim.fleet.scenario import Scenario
from haman.sim.server import TLS_KNEE

CLIENT = "client"
HAMAN = "haman"
POLICIES = {"nothing": "nothing", "naive": "healthcheck", HAMAN: HAMAN}
"""And what the model calls them."""
BURST = Phase(1, 450)
"""So many come at once that each proxy works on a queue, and its rate is what it can do."""
BURST_WITHIN_S = 20.0
CORES_PER_HANDSHAKE_S = 0.001
"""To begin with; less than it costs a proxy that is not held to a quota, which works in smaller batches."""
ROUNDS = 2
SETTLE_S = 3.0
"""After a change until its effect is whole: clients that had begun to wait end theirs."""
HARD = Thresholds().hard
CHECK = "python3 -m haman.lab.busy"
LATE_S = 30.0
"""On a machine that is busy with something else clients come later than they should."""
LATE_S_MAX = 0.5
"""Clients that come later than this come in other numbers than the scenario has."""
TOLD = {"stance-changed", "permit-granted", "permit-denied", "condition-changed"}
SATURATION = """[saturation]
client_timeout_ms = {timeout_ms}
[saturation.resource.tls]
ceiling = {ceiling:g}
unit = "full/s"
"""


class Ran(Struct, frozen=True):
    """One policy.

    Attributes:
        goodput: clients served in time, by second since the start.
        came: clients that came, by second.
        model: what the model says of `goodput`.
        gave_up: clients that were never served.
        tries: of all clients.
        late_s_max: how late the clients were at worst: if much, they were the bottleneck.
        told: what the nodes said of their decisions.
    """

    policy: str
    goodput: tuple[int, ...]
    came: tuple[int, ...]
    model: tuple[float, ...]
    gave_up: int
    tries: int
    late_s_max: float
    told: tuple[str, ...] = ()


def compare(
    path: Path,
    scenario: Scenario,
    make_cluster_key: Callable[[Path], None],
    *,
    say: Callable[[str], None] = print,
) -> tuple[Ran, ...]:
    """Play the scenario under each policy.

    Raises:
        LabError: the lab cannot be brought up or cannot play this scenario, or has no CPU quotas.
    """
    topology = read_topology(path)
    nodes = dict(zip(_announcers(topology), scenario.capacities, strict=False))
    if len(nodes) != scenario.nodes or scenario.service != "anycast":
        text = f"is not for {path}: it needs `capacities` of its {len(_announcers(topology))} nodes"
        raise LabError(f"scenario {scenario.name} {text}, service anycast")
    phases, ran = phases_of(scenario), []
    for policy, modelled in POLICIES.items():
        ready, services = playing(topology, nodes, scenario, policy)
        lab = bring_up(ready, make_cluster_key, services=services, say=say)
        try:
            cores = cores_of(lab, nodes)
            held = ", ".join(f"{node} {share * 100:.1f} %" for node, share in cores.items())
            say(f"{policy}: of a core {held}; {scenario.duration_s:g} s")
            with quotas.limited(lab, cores):
                result, told = _storm(lab, scenario, phases, policy, nodes)
        finally:
            down(path)
        model = Fleet(scenario, modelled, 1).run().series.served
        ran.append(to_ran(policy, result, tuple(model), told))
    return tuple(ran)


def phases_of(scenario: Scenario) -> tuple[Phase, ...]:
    """How many clients come, and when.

    Raises:
        LabError: something else happens than surges, one after the other.
    """
    rate = scenario.load * sum(scenario.capacities)
    phases, at_s = [], 0.0
    for event in sorted(scenario.event, key=lambda e: e.at_s):
        if event.what != "surge" or event.at_s < at_s:
            raise LabError(f"scenario {scenario.name}: the lab plays surges, one after the other")
        phases += [Phase(event.at_s - at_s, rate), Phase(event.for_s, rate * event.times)]
        at_s = event.at_s + event.for_s
    return (*phases, Phase(max(0.0, scenario.duration_s - at_s), rate))


def _announcers(topology: Topology) -> list[str]:
    return [n.name for n in topology.nodes if any(b.target == CONFIGURATION for b in n.binds)]


def playing(
    topology: Topology, nodes: Mapping[str, float], scenario: Scenario, policy: str
) -> tuple[Topology, Services | None]:
    """The lab under a policy, and what its nodes serve, where that is not haman's to say."""
    if policy == HAMAN:
        return prepared(topology, nodes, scenario), None
    commands = dict.fromkeys(nodes, "")
    if policy == "naive":
        limits = {node: HARD * TLS_KNEE * capacity for node, capacity in nodes.items()}
        commands = {node: f"{CHECK} {limit:g}" for node, limit in limits.items()}
    return prepare(topology, EXABGP, bfd=False, check=SWIFT, commands=commands, floor=False)


def prepared(topology: Topology, nodes: Mapping[str, float], scenario: Scenario) -> Topology:
    """The topology with nodes whose configuration says their ceilings."""
    folder = topology.path.parent.parent / ".lab" / topology.name / "rendered"
    changed = []
    for node in topology.nodes:
        binds = []
        for bind in node.binds:
            kept = bind
            if bind.target == CONFIGURATION:
                head, found, tail = bind.source.read_text().partition("[saturation]\n")
                if not found:
                    raise LabError(f"{bind.source}: has no table [saturation] to replace")
                said = SATURATION.format(
                    timeout_ms=round(scenario.client_timeout_s * 1000),
                    ceiling=TLS_KNEE * nodes[node.name],
                )
                kept = Bind(folder / node.name / "haman.toml", CONFIGURATION, read_only=True)
                write(kept.source, head + said + tail.partition("\n")[2])
            binds.append(kept)
        changed.append(replace(node, binds=tuple(binds)))
    return replace(topology, nodes=tuple(changed))


def cores_of(lab: Lab, nodes: dict[str, float]) -> dict[str, float]:
    """The quotas, in cores, at which the proxies do the full handshakes per second that `nodes` says.

    Raises:
        LabError: a node served nobody, or so little that this machine is busy with something else.
    """
    cores = {node: capacity * CORES_PER_HANDSHAKE_S for node, capacity in nodes.items()}
    order = Order(lab.anycasts[0].address, (BURST,), timeout_s=BURST_WITHIN_S, persistence=0.0)
    for _ in range(ROUNDS):
        with quotas.limited(lab, cores):
            clients = play(lab, order).clients
        for node, capacity in nodes.items():
            served_s = [c.served_s for c in clients if c.served_s is not None and c.node == node]
            if not served_s:
                raise LabError(f"{node} served none of a burst: there is nothing to measure")
            cores[node] *= capacity / (len(served_s) / max(served_s))
    demand_cores(cores, os.cpu_count() or 1)
    return cores


def demand_cores(cores: Mapping[str, float], count: int) -> None:
    """Refuse quotas that are no limits, as on a machine that gives the proxies next to nothing.

    Raises:
        LabError: together they are more than the `count` cores that there are.
    """
    if sum(cores.values()) > count:
        held = ", ".join(f"{node} {share * 100:.0f} %" for node, share in cores.items())
        text = f"the storm would need quotas of {held} of a core, and there are {count} cores"
        raise LabError(
            f"{text}: this machine is busy with something else; try again when it is not"
        )


def play(lab: Lab, order: Order) -> Result:
    """Let the clients of an order come; what became of them."""
    path = lab.folder / "clients.json"
    path.unlink(missing_ok=True)
    words = ["python3", "-m", "haman.lab.clients", msgspec.json.encode(order).decode(), str(path)]
    process = lab.runtime.spawn(CLIENT, words)
    bound_s = sum(phase.seconds for phase in order.phases) + LATE_S
    bound_s += TRIES_MAX * (order.timeout_s + order.within_s)
    try:
        process.wait(bound_s)
        return msgspec.json.decode(path.read_bytes(), type=Result)
    except (subprocess.TimeoutExpired, OSError, msgspec.DecodeError) as error:
        raise LabError(f"the clients brought no result: {error}") from error
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _storm(
    lab: Lab,
    scenario: Scenario,
    phases: tuple[Phase, ...],
    policy: str,
    nodes: Mapping[str, float],
) -> tuple[Result, tuple[str, ...]]:
    begun_at = {node: _last_event(lab, node) for node in nodes if policy == HAMAN}
    order = Order(
        lab.anycasts[0].address,
        phases,
        timeout_s=scenario.client_timeout_s,
        persistence=scenario.persistence,
    )
    result = play(lab, order)
    said = (
        f"{event.at[14:22]} {event.node} {event.text}"
        for node, seq in begun_at.items()
        for event in agent.client(lab.runtime, node).events(seq)
        if event.type in TOLD
    )
    return result, tuple(sorted(said))


def _last_event(lab: Lab, node: str) -> int:
    events = agent.client(lab.runtime, node).events(-1)
    return events[-1].seq if events else 0


def to_ran(
    policy: str, result: Result, model: tuple[float, ...] = (), told: tuple[str, ...] = ()
) -> Ran:
    """What a run comes to."""
    length_s = int(sum(phase.seconds for phase in result.order.phases))
    served = [c.served_s for c in result.clients if c.served_s is not None]
    came = [c.came_s for c in result.clients]
    return Ran(
        policy,
        _by_second(served, length_s),
        _by_second(came, length_s),
        model,
        gave_up=len(came) - len(served) + result.turned_away,
        tries=sum(c.tries for c in result.clients),
        late_s_max=result.late_s_max,
        told=told,
    )


def _by_second(instants_s: Sequence[float], length_s: int) -> tuple[int, ...]:
    counts = [0] * length_s
    for instant_s in instants_s:
        if 0 <= instant_s < length_s:
            counts[int(instant_s)] += 1
    return tuple(counts)


def to_markdown(scenario: Scenario, table: Sequence[Ran]) -> str:
    """What came in each phase, and what was served: measured, and by the model."""
    spans, at_s = [], 0.0
    for phase in phases_of(scenario):
        spans.append((at_s, at_s + phase.seconds, phase.per_s))
        at_s += phase.seconds
    heads = [f"{per_s:.0f}/s come" for _, _, per_s in spans]
    lines = [f"| policy | {' | '.join(heads)} | tries for each client | never served |"]
    lines.append("|---" * (len(spans) + 3) + "|")
    for each in table:
        cells = [
            _cell(_mean(each.goodput, begin_s, end_s), _mean(each.model, begin_s, end_s))
            for begin_s, end_s, _ in spans
        ]
        came = sum(each.came) or 1
        cells += [f"{each.tries / came:.2f}", f"{each.gave_up:,} of {came:,}"]
        lines.append(f"| {each.policy} | {' | '.join(cells)} |")
    late_s = max((each.late_s_max for each in table), default=0.0)
    lines += [
        "",
        f"Served per second, and by the model. The clients were {late_s:.2f} s late at worst.",
    ]
    bad = [each.policy for each in table if each.late_s_max > LATE_S_MAX]
    if bad:
        text = "clients came too late, so that this is not the scenario, and no figure of it counts"
        lines.append(f"**{', '.join(bad)}: {text}: measure again on a quiet machine.**")
    return "\n".join(lines)


def _mean(series: Sequence[float], begin_s: float, end_s: float) -> float | None:
    part = series[int(min(begin_s + SETTLE_S, end_s)) : int(end_s)]
    return sum(part) / len(part) if part else None


def _cell(measured: float | None, modelled: float | None) -> str:
    text = "–" if measured is None else f"{measured:.0f}"
    return text if modelled is None else f"{text} (model {modelled:.0f})"
