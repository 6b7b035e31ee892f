"""A run of a scenario under one policy: clients, events, clusters, and what became of it."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from haman.sim.fleet.cluster import Cluster, Policy, VipCluster
from haman.sim.fleet.core import Core
from haman.sim.fleet.node import FULL_WEIGHT, Node
from haman.sim.fleet.policies import Healthcheck, Hysteresis, Naive, Nothing, WeightOnly
from haman.sim.fleet.scenario import Event, Scenario
from haman.sim.plans import NS_PER_S
from haman.sim.streams import Streams

RETRY_S: Final = 2.0
RECONNECT_S: Final = 1.0
JUDGE_S: Final = 1.0

POLICIES: Final[dict[str, Callable[[Cluster], Policy]]] = {
    "naive": Naive,
    "hysteresis": Hysteresis,
    "weight": WeightOnly,
    "haman": Core,
}
_MAKERS: Final = {**POLICIES, "nothing": Nothing, "healthcheck": Healthcheck}
"""And what the lab plays without haman: not among those that are compared."""


@dataclass(slots=True)
class Series:
    """What happened, second by second (or step by step, where those are longer).

    Attributes:
        wanted: clients that wanted to be served, for the first time or after they were cut off.
        served: handshakes that were worth something.
        shedding: nodes that announced less than all, for they had chosen to.
        silent: clusters of which nobody announced.
    """

    span_s: float
    wanted: list[float] = field(default_factory=list)
    served: list[float] = field(default_factory=list)
    shedding: list[int] = field(default_factory=list)
    silent: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Run:
    """What a run came to.

    Attributes:
        lost: clients that gave up for good.
        broken: connections that were cut by moves and losses.
        moves: changes of what is announced that a policy decided.
    """

    scenario: Scenario
    policy: str
    seed: int
    series: Series
    lost: float
    broken: float
    moves: int


class Fleet:
    """All clusters and their clients."""

    def __init__(self, scenario: Scenario, policy: str, seed: int) -> None:
        streams = Streams(seed)
        self._scenario = scenario
        self._policy = policy
        self._seed = seed
        self._span_s = scenario.step_ms / 1000
        self._clusters = _clusters(scenario, streams.of("nodes"))
        for cluster in self._clusters:
            cluster.policy = _MAKERS[policy](cluster)
        self._jitter = streams.of("clients")
        nodes = [node for cluster in self._clusters for node in cluster.nodes]
        base = nodes[0].server.capacity if scenario.service == "vip" else 0.0
        self._rate = scenario.load * (base or sum(n.server.capacity for n in nodes))
        self._factor = 1.0
        self._returning: deque[float] = deque([0.0] * (round(RETRY_S / self._span_s) + 1))
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._judge_s = 0.0
        self._lost = 0.0
        self._wanted_again = 0.0
        for event in scenario.event:
            self._plan(event)

    def _plan(self, event: Event) -> None:
        begin, end = _EFFECTS[event.what]
        self._due.append((event.at_s, len(self._due), lambda now_s: begin(self, event, now_s)))
        if end is not None:
            ends_s = event.at_s + event.for_s
            self._due.append((ends_s, len(self._due), lambda now_s: end(self, event, now_s)))

    def run(self, progress: Callable[[float], None] = lambda _: None) -> Run:
        """Let it all happen; `progress` is told the part that is done."""
        scenario, span_s = self._scenario, self._span_s
        self._due.sort()
        series = Series(max(1.0, span_s))
        steps = round(scenario.duration_s / span_s)
        per_point = max(1, round(series.span_s / span_s))
        due = deque(self._due)
        point = [0.0, 0.0]
        for number in range(steps):
            now_s = number * span_s
            while due and due[0][0] <= now_s:
                due.popleft()[2](now_s)
            wanted, served = self._step(now_s)
            point[0] += wanted
            point[1] += served
            if number % per_point == per_point - 1:
                series.wanted.append(point[0])
                series.served.append(point[1])
                series.shedding.append(self._shedding())
                series.silent.append(sum(not c.announces for c in self._clusters))
                point = [0.0, 0.0]
                if len(series.wanted) % 16 == 0:
                    progress(number / steps)
        return Run(
            scenario,
            self._policy,
            self._seed,
            series,
            self._lost,
            sum(cluster.broken for cluster in self._clusters),
            sum(cluster.moves for cluster in self._clusters),
        )

    def _shedding(self) -> int:
        if self._scenario.service == "vip":
            return sum(not n.wanted for c in self._clusters for n in c.nodes if n.up)
        return sum(
            n.up and (n.weight < FULL_WEIGHT or n.shut) for c in self._clusters for n in c.nodes
        )

    def _step(self, now_s: float) -> tuple[float, float]:
        span_s, clusters = self._span_s, self._clusters
        for cluster in clusters:
            self._reconnect(cluster.follow())
        fresh = self._rate * self._day(now_s) * self._factor * span_s
        fresh *= 1.0 + 0.02 * (self._jitter.random() - 0.5)
        coming = fresh + self._returning.popleft()
        self._returning.append(0.0)
        wanted, self._wanted_again = fresh + self._wanted_again, 0.0
        open_ones = [cluster for cluster in clusters if cluster.announces]
        if not open_ones:
            self._fail(coming)
            for cluster in clusters:
                cluster.serve(now_s, span_s, 0.0)
        served = 0.0
        for cluster in clusters:
            part = coming / len(open_ones) if cluster.announces else 0.0
            if open_ones:
                ok, gone = cluster.serve(now_s, span_s, part)
                served += ok
                self._fail(gone)
        self._judge(now_s + span_s)
        return wanted, served

    def _judge(self, now_s: float) -> None:
        """Once a second, as check scripts run."""
        if now_s >= self._judge_s:
            self._judge_s = now_s + JUDGE_S - self._span_s / 2
            for cluster in self._clusters:
                cluster.judge(round(now_s * NS_PER_S))

    def _day(self, now_s: float) -> float:
        night = self._scenario.diurnal
        turn = math.cos(2 * math.pi * now_s / self._scenario.period_s)
        return 1.0 if night == 1 else night + (1.0 - night) * (0.5 - 0.5 * turn)

    def _reconnect(self, count: float) -> None:
        """Connections broke: their clients want to be served again."""
        if not count:
            return
        self._wanted_again += count
        self._come_back(count, RECONNECT_S)

    def _fail(self, count: float) -> None:
        again = self._scenario.persistence
        self._lost += count * (1.0 - again)
        self._come_back(count * again, RETRY_S)

    def _come_back(self, count: float, within_s: float) -> None:
        steps = max(1, round(within_s / self._span_s))
        for place in range(steps):
            self._returning[place] += count / steps

    # ---- events --------------------------------------------------------------------------------

    def _chosen(self, event: Event) -> list[tuple[Cluster, Node]]:
        clusters = self._clusters[: event.clusters or None]
        return [(c, node) for c in clusters for node in c.nodes[: event.nodes]]

    def lose(self, event: Event, _now_s: float) -> None:
        """Power is off."""
        for cluster, node in self._chosen(event):
            node.up = False
            node.server.reset()
            node.weight = 0
            cluster.policy.lost(node)
        for cluster in {id(c): c for c, _ in self._chosen(event)}.values():
            self._reconnect(cluster.reshare())

    def regain(self, event: Event, now_s: float) -> None:
        """Power is on again."""
        for cluster, node in self._chosen(event):
            node.up = True
            node.forget()
            cluster.policy.back(node, round(now_s * NS_PER_S))
            cluster.lively[node.place] = node

    def slow(self, event: Event, _now_s: float) -> None:
        """Everything takes longer."""
        self._slow(event, event.times)

    def quicken(self, event: Event, _now_s: float) -> None:
        """As before."""
        self._slow(event, 1.0 / event.times)

    def _slow(self, event: Event, times: float) -> None:
        for cluster, node in self._chosen(event):
            node.server.slowness *= times
            cluster.reshare(breaks=False)

    def heat(self, event: Event, _now_s: float) -> None:
        """Routers send some nodes more."""
        self._heat(event, event.times)

    def cool(self, event: Event, _now_s: float) -> None:
        """As before."""
        self._heat(event, 1.0 / event.times)

    def _heat(self, event: Event, times: float) -> None:
        for cluster, node in self._chosen(event):
            node.skew *= times
            cluster.reshare(breaks=False)

    def surge(self, event: Event, _now_s: float) -> None:
        """More clients come."""
        self._factor *= event.times

    def ebb(self, event: Event, _now_s: float) -> None:
        """As before."""
        self._factor /= event.times

    def storm(self, event: Event, _now_s: float) -> None:
        """Connections are lost, and all of their clients come back at once."""
        for cluster in self._clusters[: event.clusters or None]:
            self._reconnect(cluster.cut(cluster.connections * event.part))


_Effect = Callable[[Fleet, Event, float], None]
_EFFECTS: Final[dict[str, tuple[_Effect, _Effect | None]]] = {
    "lose": (Fleet.lose, Fleet.regain),
    "slow": (Fleet.slow, Fleet.quicken),
    "hot": (Fleet.heat, Fleet.cool),
    "surge": (Fleet.surge, Fleet.ebb),
    "storm": (Fleet.storm, None),
}


def _clusters(scenario: Scenario, random: Random) -> list[Cluster]:
    count = -(-scenario.nodes // scenario.cluster)
    made: list[Cluster] = []
    left = scenario.nodes
    known = iter(scenario.capacities)
    for number in range(count):
        size = -(-left // (count - number))
        left -= size
        nodes = [
            Node(
                place,
                next(known, scenario.capacity)
                * (1.0 + scenario.spread * (2 * random.random() - 1)),
                scenario.client_timeout_s,
                1.0 + scenario.uneven * (2 * random.random() - 1),
            )
            for place in range(1, size + 1)
        ]
        kind = VipCluster if scenario.service == "vip" else Cluster
        made.append(kind(nodes, scenario.hold_s))
    return made
