"""Permits on a link that loses, delays, repeats and reorders, among nodes that pause, stop, restart.

What must hold is checked from outside, after every step of every node.
"""

from collections import deque
from random import Random

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from haman.core.ladder import in_force
from haman.core.permits import Message
from haman.core.permits.granter import LEASE_NS
from haman.core.permits.sheds import FOUND
from haman.core.reports import NodeReport
from haman.core.words import Condition
from tests.core.permits.cluster import EDGE, HARD, MS, Cluster, FakeNode, S

HEIGHT = {rung: n for n, rung in enumerate(reversed((*EDGE.rungs, EDGE.shut)))}
STEP_MS = 200


class Adverse(Cluster):
    """A cluster on a bad day; reports are up to 400 ms old."""

    def __init__(self, names: tuple[str, ...], seed: int, *, max_shedding: int) -> None:
        self.random = Random(seed)
        self.loss = 0.2
        vips = {"web": {name: 150 - n for n, name in enumerate(names)}}
        super().__init__(
            names, link=self.bad_link, demand=0.72, vips=vips, max_shedding=max_shedding
        )
        self.vip_load = {"web": 0.1}
        self.now_ns = LEASE_NS
        self.history: dict[str, deque[NodeReport]] = {}
        self.started_ns = dict.fromkeys(names, 0)
        self.epoch = 100
        self.downs: dict[str, list[int]] = {name: [] for name in names}

    def bad_link(self, _: str, __: str, ___: Message) -> tuple[int, ...]:
        if self.random.random() < self.loss:
            return ()
        copies = 1 + (self.random.random() < 0.2)
        late = 3 * S if self.random.random() < 0.1 else 300 * MS
        return tuple(self.random.randrange(MS, late) for _ in range(copies))

    def told(self, node: FakeNode) -> NodeReport:
        if node.name in self.reports:
            return self.reports[node.name]
        seen = self.history.setdefault(node.name, deque(maxlen=4))
        seen.append(self.report(node))
        self.reports[node.name] = self.random.choice(tuple(seen))
        return self.reports[node.name]

    def restart(self, name: str, epoch: int) -> None:
        super().restart(name, epoch)
        self.started_ns[name] = self.now_ns
        self.history.pop(name, None)

    def step_node(self, node: FakeNode) -> None:
        before = in_force(EDGE, node.announced)
        grants = len(node.noted("permit-granted"))
        super().step_node(node)
        after = in_force(EDGE, node.announced)
        wanted = node.broken or node.drained
        down = after in HEIGHT and before in HEIGHT and HEIGHT[after] < HEIGHT[before]
        if down and not wanted:
            self.downs[node.name].append(self.now_ns)
            self.check_consent(node)
        if node.last is not None and node.last.moves:
            self.check_consent(node)
        for note in node.noted("permit-granted")[grants:]:
            if not note.text.startswith(tuple(self.nodes)) or " has " not in note.text:
                continue
            self.check_room(node)

    def check_consent(self, mover: FakeNode) -> None:
        views = {view.name: view for view in self.views(mover.name)}
        for other in self.nodes.values():
            if other is mover:
                continue
            assert views[other.name].fresh, f"{mover.name} shed while {other.name} was silent"
            young = self.now_ns - self.started_ns[other.name] < LEASE_NS
            held = other.permits.snapshot().report.granted_to
            out = other.broken or other.drained or not other.up
            out = out or self.said_out(views[other.name].report)
            assert young or out or held == mover.name, f"{other.name} holds {held!r}"
        assert not mover.paused
        assert mover.condition is Condition.SATURATED

    @staticmethod
    def said_out(report: NodeReport | None) -> bool:
        """Who has only just come back has not told everybody, and announces nothing yet."""
        return report is not None and report.condition in {Condition.DRAINED, Condition.FAULT}

    def check_room(self, granter: FakeNode) -> None:
        reserved = granter.permits.snapshot().report.reserved.get("cpu", 0.0)
        assert granter.cpu + reserved < HARD * granter.capacity or reserved == 0

    def check(self) -> None:
        shedding = [n.name for n in self.nodes.values() if n.up and self.has_shed(n)]
        assert len(shedding) <= self.max_shedding, f"{shedding} shed at once"
        serving = [n for n in self.nodes.values() if n.up and not n.broken and not n.drained]
        if len(serving) > 1:
            stances = {in_force(EDGE, n.announced).serves for n in serving if n.condition}
            assert True in stances or self.settling, "nobody serves"
        for name, downs in self.downs.items():
            lately = [at for at in downs if at > self.now_ns - 60 * S]
            assert len(lately) <= 12, f"{name} went down {len(lately)} times in a minute"

    @staticmethod
    def has_shed(node: FakeNode) -> bool:
        """What a life only found may have been on its way up, after a fault."""
        sheds = node.permits.snapshot().standing.sheds.values()
        return any(all(r.code != FOUND for r in shed.reasons) for shed in sheds)

    settling = 0


def play(names: tuple[str, ...], seed: int, ops: list[tuple[str, int, float]], most: int) -> None:
    cluster = Adverse(names, seed, max_shedding=most)
    for name in names[:1]:
        cluster.nodes[name].capacity = 0.25
    cluster.checks.append(cluster.check)
    for op, which, value in ops:
        name = names[which % len(names)]
        node = cluster.nodes[name]
        cluster.settling = 1
        match op:
            case "load":
                node.own_load = value * node.capacity
            case "demand":
                cluster.demand = value * len(names) * 0.4
            case "pause":
                node.paused = not node.paused
            case "drain":
                node.drained = not node.drained
            case "break":
                node.broken = not node.broken
            case "blind":
                node.unknown = not node.unknown
            case "silence":
                others = frozenset(n for n in names if n != name)
                some = frozenset(cluster.random.sample(sorted(others), 1))
                node.silent_to = frozenset() if node.silent_to else some
            case "stop":
                node.up = not node.up
            case "restart":
                cluster.epoch += 1
                cluster.restart(name, cluster.epoch)
            case "loss":
                cluster.loss = value * 0.9
        cluster.run(2, STEP_MS)
        cluster.settling = 0
        cluster.run(1 + 4 * cluster.random.random(), STEP_MS)
    heal(cluster)


def heal(cluster: Adverse) -> None:
    """Everything is well again: grants end, and what was shed is taken back."""
    cluster.loss = 0.0
    cluster.settling = 1
    cluster.demand = 0.1
    for node in cluster.nodes.values():
        node.paused = node.drained = node.broken = node.unknown = False
        node.up, node.silent_to, node.own_load = True, frozenset(), 0.0

    def healed() -> bool:
        full = EDGE.rungs[0]
        return all(
            in_force(EDGE, n.announced) == full
            and not n.sheds
            and not n.permits.snapshot().report.granted_to
            for n in cluster.nodes.values()
        )

    cluster.until(healed, 1500, 500)


OPS = (
    "load",
    "load",
    "demand",
    "pause",
    "drain",
    "break",
    "blind",
    "silence",
    "stop",
    "restart",
    "loss",
)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
@example(seed=1, ops=[("load", 1, 0.8), ("load", 0, 0.9)], many=False, most=1)
@example(seed=44492756, ops=[("drain", 1, 0.0), ("drain", 1, 0.0)], many=False, most=1)
@given(
    seed=st.integers(0, 2**32),
    ops=st.lists(st.tuples(st.sampled_from(OPS), st.integers(0, 3), st.floats(0, 1)), max_size=15),
    many=st.booleans(),
    most=st.integers(1, 2),
)
def test_no_load_moves_without_consent_whatever_is_lost_or_late(seed, ops, many, most) -> None:
    names = ("lb1", "lb2", "lb3", "lb4") if many else ("lb1", "lb2", "lb3")
    play(names, seed, ops, most)
