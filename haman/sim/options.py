"""What a seed makes of the cluster: nodes, services, timers, network, load, and kinds of faults.

Each seed draws its own options, and leaves most kinds of faults out: a few kinds at a time go
deeper than all of them at once.
"""

from dataclasses import dataclass, replace
from random import Random
from typing import Final

from haman.core.gate import GateSettings
from haman.core.ladder import ConfiguredAnycast
from haman.sim.network import NS_PER_MS, Quality
from haman.sim.plans import NS_PER_S, NodePlan, VipPlan

PAIR, TRIO, ANYCAST, MIXED = "pair", "trio", "anycast", "mixed"
SHAPES: Final = (PAIR, TRIO, ANYCAST, MIXED)

NODE_FAULTS: Final = (
    "power-off",
    "pause-machine",
    "stop-engine",
    "stop-controller",
    "kill-controller",
    "kill-engine",
    "kill-proxy",
    "deaf-proxy",
    "slow-proxy",
    "late",
    "wall-jump",
    "clock-leap",
    "clock-drift",
    "lie",
    "other-schema",
    "twin",
    "drain",
    "failover",
    "pause",
    "reload",
    "steal-address",
    "kill-relay",
)
NETWORK_FAULTS: Final = ("cut", "cut-one-way", "isolate", "lossy")
LOAD_FAULTS: Final = ("surge", "storm", "hot")
KINDS: Final = NODE_FAULTS + NETWORK_FAULTS + LOAD_FAULTS
KINDS_MOST: Final = 7
FAULTS_MOST: Final = 10


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that a seed decides but the faults themselves.

    Attributes:
        rates: clients per second, by service.
        hold_s: how long a connection lasts.
        life_s: how long one of those that are known one by one lasts, on average.
        late_ns: how late processes wake, at most, when nothing is wrong.
        kinds: of faults that may happen.
        faults: how many of them.
        safety_ns: how long faults happen.
        heal_ns: how long healing may take at most.
    """

    seed: int
    shape: str
    nodes: tuple[NodePlan, ...]
    rates: dict[str, float]
    hold_s: float
    quality: Quality
    late_ns: int
    drifts_ppm: tuple[int, ...]
    kinds: tuple[str, ...]
    faults: int
    safety_ns: int
    heal_ns: int = 300 * NS_PER_S
    life_s: float = 10.0

    def __str__(self) -> str:
        first = self.nodes[0]
        vips = ", ".join(f"{v.name}/{'+'.join(map(str, v.families))}" for v in first.vips)
        anycast = ", ".join(a.name for a in first.anycast)
        adverts = "/".join(f"{v.advert_ns // NS_PER_MS}" for v in first.vips) or "-"
        quality = self.quality
        return (
            f"{self.shape}, {len(self.nodes)} nodes, services {vips or '-'} {anycast}; adverts"
            f" {adverts} ms, reports {first.report_ns // NS_PER_MS} ms, hold"
            f" {first.gate.hold_ns / 1e9:g} s; network {quality.least_ns / 1e6:.1f}+"
            f"{quality.spread_ns / 1e6:.1f} ms, loss {quality.loss:.0%}; late"
            f" {self.late_ns / 1e6:.1f} ms; load"
            f" {', '.join(f'{n} {r:.0f}/s' for n, r in self.rates.items())}; faults of"
            f" {', '.join(self.kinds)}"
        )


def draw(seed: int, random: Random, shape: str = "") -> Options:
    """The options of a seed; the shape of the cluster too, unless it is given."""
    shape = shape or random.choice(SHAPES)
    count = {
        PAIR: 2,
        TRIO: 3,
        ANYCAST: random.choice((3, 3, 4, 5, 8)),
        MIXED: random.randint(2, 4),
    }[shape]
    vips = () if shape == ANYCAST else _vips(random, shape)
    anycast = () if shape in (PAIR, TRIO) else (_anycast(random),)
    capacity = random.choice((1000.0, 2000.0, 4000.0))
    gate = GateSettings(
        probe=random.random() < 0.8,
        hold_ns=random.choice((2, 5, 10)) * NS_PER_S,
        dwell_ns=random.choice((1, 2)) * NS_PER_S,
    )
    report_ns = random.choice((200, 500, 500)) * NS_PER_MS
    nodes = tuple(
        NodePlan(
            name=f"lb{place}",
            place=place,
            site=f"site{place % 2}" if count > 2 else "",
            vips=vips,
            anycast=anycast,
            gate=gate,
            capacity=capacity * random.choice((1.0, 1.0, 1.0, 0.5, 2.0)),
            preempt=random.random() < 0.8,
            report_ns=report_ns,
            sample_ns=report_ns,
        )
        for place in range(1, count + 1)
    )
    nodes = _prioritized(random, nodes, vips)
    least = min(node.capacity for node in nodes)
    rates = {vip.name: least * random.uniform(0.05, 0.7) / len(vips) for vip in vips}
    whole = sum(node.capacity for node in nodes)
    rates |= {a.name: whole * random.uniform(0.1, 0.8) * (0.5 if vips else 1) for a in anycast}
    kinds = set(random.sample(KINDS, random.randint(1, KINDS_MOST)))
    if anycast and random.random() < 0.6:
        kinds.add("hot")  # without it hardly anybody sheds
    return Options(
        seed,
        shape,
        nodes,
        rates,
        hold_s=random.choice((0.5, 2.0, 10.0)),
        quality=_quality(random),
        late_ns=random.choice((100_000, NS_PER_MS, 5 * NS_PER_MS)),
        drifts_ppm=tuple(random.randint(-300, 300) for _ in nodes),
        kinds=tuple(kind for kind in KINDS if kind in kinds),
        faults=random.randint(2, FAULTS_MOST),
        safety_ns=random.randint(25, 50) * NS_PER_S,
    )


def with_tails(options: Options, random: Random) -> Options:
    """The tails of anycast services, and how long connections last."""
    tail_ns = random.choice((0, 3, 10, 30)) * NS_PER_S
    nodes = tuple(
        replace(node, anycast=tuple(replace(each, tail_ns=tail_ns) for each in node.anycast))
        for node in options.nodes
    )
    return replace(options, nodes=nodes, life_s=random.choice((2.0, 5.0, 15.0)))


def _vips(random: Random, shape: str) -> tuple[VipPlan, ...]:
    count = 1 if shape == MIXED else random.choice((1, 1, 2))
    group = random.choice(("", "all")) if count > 1 else ""
    advert_ns = random.choice((100, 100, 200, 1000)) * NS_PER_MS
    families = random.choice(((4,), (4,), (4, 6)))
    delay_ns = random.choice((0, 0, 3)) * NS_PER_S
    lease_ns = max(3, -(-(4 * advert_ns + NS_PER_S) // NS_PER_S)) * NS_PER_S
    return tuple(
        VipPlan(f"vip{n}", 50 + n, families, group, advert_ns, delay_ns, lease_ns)
        for n in range(1, count + 1)
    )


def _anycast(random: Random) -> ConfiguredAnycast:
    return ConfiguredAnycast(
        "edge",
        weighted=random.random() < 0.9,
        step_ns=random.choice((2, 5, 10)) * NS_PER_S,
        drain_ns=random.choice((1, 5)) * NS_PER_S,
    )


def _prioritized(
    random: Random, nodes: tuple[NodePlan, ...], vips: tuple[VipPlan, ...]
) -> tuple[NodePlan, ...]:
    """Apart from each other, and not the same for every VIP."""
    for vip in vips:
        order = list(range(len(nodes)))
        random.shuffle(order)
        for node, place in zip(nodes, order, strict=True):
            node.priorities[vip.name] = 200 - 40 * place
    return nodes


def _quality(random: Random) -> Quality:
    return Quality(
        least_ns=random.choice((50_000, 500_000, 5 * NS_PER_MS)),
        spread_ns=random.choice((100_000, NS_PER_MS, 10 * NS_PER_MS)),
        loss=random.choice((0.0, 0.0, 0.01, 0.05)),
        twice=random.choice((0.0, 0.0, 0.05)),
        stray=random.choice((0.0, 0.0, 0.02)),
    )
