"""The real thing beside the model: the anycast lab in a storm, under three policies.

A scenario of `haman simulate` is played by real clients against real proxies. Each proxy is held to a CPU
quota, so that its capacity is known: what a full handshake costs it is measured first, and the quota is
what the scenario's capacity needs. Ceilings are configured as the model has them.

    nothing   a busy node holds; what clients lose, they lose
    naive     a script on each node withdraws it while it is saturated, and lets it return when it has
              been well for some seconds. It does so by `drain --force`, so haman still keeps the last
              announcer: the script is better off here than by itself
    haman     load moves by permit

What counts is goodput: clients served in time, in each second, at the clients.
"""

import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
from msgspec import Struct

from haman.api import schema
from haman.lab import agent, quotas
from haman.lab.clients import TRIES_MAX, Order, Phase, Result
from haman.lab.files import write
from haman.lab.lab import Lab, bring_up, down
from haman.lab.runtime import LabError
from haman.lab.services import CONFIGURATION
from haman.lab.topology import Bind, Topology, read_topology
from haman.sim.fleet.fleet import Fleet
from haman.sim.fleet.scenario import Scenario
from haman.sim.server import TLS_KNEE

CLIENT = "client"
POLICIES = {"nothing": "", "naive": "naive", "haman": "haman"}
"""And what the model calls them; "" = it has none such."""
BURST = Phase(1, 450)
"""So many come at once that each proxy works on a queue, and its rate is what it can do."""
BURST_WITHIN_S = 20.0
CORES_PER_HANDSHAKE_S = 0.001
"""To begin with; less than it costs a proxy that is not held to a quota, which works in smaller batches."""
ROUNDS = 2
SETTLE_S = 3.0
"""After a change until its effect is whole: clients that had begun to wait end theirs."""
HARD = 0.9
LATE_S = 30.0
"""On a machine that is busy with something else clients come later than they should."""
RETURN_AFTER_S = 5.0
POLL_S = 0.25
TOLD = {"stance-changed", "permit-granted", "permit-denied", "condition-changed"}
SATURATION = """[saturation]
client_timeout_ms = {timeout_ms}
max_shedding = {max_shedding}
[saturation.resource.tls]
ceiling = {ceiling:g}
unit = "full/s"
"""


class Ran(Struct, frozen=True):
    """One policy.

    Attributes:
        goodput: clients served in time, by second since the start.
        came: clients that came, by second.
        model: what the model says of `goodput`; empty where it has no such policy.
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
        ready = prepared(topology, nodes, scenario, max_shedding=int(policy == "haman"))
        lab = bring_up(ready, make_cluster_key, say=say)
        try:
            cores = cores_of(lab, nodes)
            held = ", ".join(f"{node} {share * 100:.1f} %" for node, share in cores.items())
            say(f"{policy}: of a core {held}; {scenario.duration_s:g} s")
            with quotas.limited(lab, cores):
                result, told = _storm(lab, scenario, phases, policy, nodes)
        finally:
            down(path)
        series = Fleet(scenario, modelled, 1).run().series.served if modelled else ()
        ran.append(to_ran(policy, result, tuple(series), told))
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


def prepared(
    topology: Topology, nodes: dict[str, float], scenario: Scenario, *, max_shedding: int
) -> Topology:
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
                    max_shedding=max_shedding,
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
        LabError: a node served nobody.
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
    return cores


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
    nodes: Iterable[str],
) -> tuple[Result, tuple[str, ...]]:
    begun_at = {node: _last_event(lab, node) for node in nodes}
    order = Order(
        lab.anycasts[0].address,
        phases,
        timeout_s=scenario.client_timeout_s,
        persistence=scenario.persistence,
    )
    with _scripts(lab, nodes if policy == "naive" else ()):
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


@contextmanager
def _scripts(lab: Lab, nodes: Iterable[str]) -> Iterator[None]:
    scripts = [Script(lab, node) for node in nodes]
    for script in scripts:
        script.start()
    try:
        yield
    finally:
        for script in scripts:
            script.stop()


class Script:
    """The naive policy on one node: out while saturated, back when well for a while."""

    def __init__(self, lab: Lab, node: str) -> None:
        self._lab = lab
        self._node = node
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and leave the node in service."""
        self._ended.set()
        self._thread.join()
        agent.client(self._lab.runtime, self._node).act("undrain", schema.Intent(node=self._node))

    def _run(self) -> None:
        client = agent.client(self._lab.runtime, self._node)
        out, well_since_s = False, time.monotonic()
        while not self._ended.wait(POLL_S):
            status = agent.status(self._lab.runtime, self._node)
            node = next((n for n in status.nodes if n.name == self._node), None) if status else None
            if node is None:
                continue
            busy = any(r.name == "tls" and (r.utilization or 0.0) >= HARD for r in node.resources)
            now_s = time.monotonic()
            well_since_s = now_s if busy else well_since_s
            if busy and not out:
                client.act("drain", schema.Intent(node=self._node, force=True))
                out = True
            elif out and now_s - well_since_s >= RETURN_AFTER_S:
                client.act("undrain", schema.Intent(node=self._node))
                out = False


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
    return "\n".join(lines)


def _mean(series: Sequence[float], begin_s: float, end_s: float) -> float | None:
    part = series[int(min(begin_s + SETTLE_S, end_s)) : int(end_s)]
    return sum(part) / len(part) if part else None


def _cell(measured: float | None, modelled: float | None) -> str:
    text = "–" if measured is None else f"{measured:.0f}"
    return text if modelled is None else f"{text} (model {modelled:.0f})"
