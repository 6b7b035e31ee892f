"""Read back: alarms that are true, and silence wherever it cannot be told."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from haman.core.announcements import AnycastReport
from haman.core.facts import VipReport
from haman.core.readback import (
    INTERVAL_NS,
    SAMPLES,
    SAMPLES_MIN,
    SETTLE_NS,
    Finding,
    ReadBack,
    _at_least,
    _at_most,
)
from haman.core.reports import NodeReport
from haman.core.words import Condition, Role, Stance


def node(name: str, rate: float | None, weight: int = 100, **more) -> NodeReport:
    stance = more.get("stance", Stance.FULL if weight == 100 else Stance.REDUCED)
    said = tuple(
        AnycastReport(s, stance, w, 100, 1, neighbors_up=more.get("up", 1), weighted=more.get("weighted", True))
        for s, w in more.get("services", {"edge": weight}).items()
    )  # fmt: skip
    return NodeReport(
        name,
        "",
        "1",
        Condition.IN_SERVICE,
        vips=more.get("vips", ()),
        new_connections_per_s=rate,
        anycast=said,
    )


class Watching:
    """A read back and its clock."""

    def __init__(self) -> None:
        self.readback = ReadBack()
        self.now_ns = 0

    def step(self, *reports: NodeReport, after_ns: int = 0) -> tuple[Finding, ...]:
        self.now_ns += after_ns
        return self.readback.step(reports, self.now_ns)

    def window(self, *reports: NodeReport, samples: int = SAMPLES) -> tuple[Finding, ...]:
        """Settle, and as many samples as that."""
        self.step(*reports)
        found = self.step(*reports, after_ns=SETTLE_NS)
        for _ in range(samples - 1):
            found = self.step(*reports, after_ns=INTERVAL_NS)
        return found


def codes(*reports: NodeReport) -> list[tuple[str, str]]:
    return [(f.code, f.node) for f in Watching().window(*reports)]


ACTIVE = (VipReport("web", Role.ACTIVE, 100, 1),)
SILENT = [("announced-but-silent", "lb1")]
IGNORED = [("weight-ignored", "")]
CASES = [
    # name, reports, findings
    ("all is well", (node("lb1", 10), node("lb2", 10)), []),
    ("weights are followed", (node("lb1", 8), node("lb2", 2, 25)), []),
    ("nothing arrives", (node("lb1", 0), node("lb2", 10)), SILENT),
    ("nothing arrives at the other", (node("lb2", 10), node("lb1", 0)), SILENT),
    ("a trickle, as of a monitor", (node("lb1", 0.2), node("lb2", 20)), SILENT),
    ("a trickle that may be a tenth", (node("lb1", 0.2), node("lb2", 2)), []),
    ("too few to tell", (node("lb1", 0), node("lb2", 0.9)), []),
    ("too few, if the weights are ignored", (node("lb1", 0), node("lb2", 0.9, 25)), []),
    ("nobody comes at all", (node("lb1", 0), node("lb2", 0)), []),
    ("a low weight gets little", (node("lb1", 0, 1), node("lb2", 10)), []),
    ("a low weight, and yet nothing", (node("lb1", 0, 25), node("lb2", 100)), SILENT),
    ("silent beside two", (node("lb1", 0), node("lb2", 10), node("lb3", 10)), SILENT),
    ("equal, though weights differ", (node("lb1", 10), node("lb2", 10.4, 25)), IGNORED),
    ("equal for three", (node("lb1", 10), node("lb2", 10, 50), node("lb3", 10, 25)), IGNORED),
    ("neither equal nor by weight", (node("lb1", 6.5), node("lb2", 3.5, 25)), []),
    ("equal, too few to tell", (node("lb1", 0.3), node("lb2", 0.3, 25)), []),
    ("weights that cannot be told apart", (node("lb1", 100), node("lb2", 100, 95)), []),
    ("no weights are sent at all", (node("lb1", 10, weighted=False), node("lb2", 10, 25, weighted=False)), []),
    ("one sends none", (node("lb1", 10, weighted=False), node("lb2", 10, 25)), IGNORED),
    ("one node alone", (node("lb1", 0),), []),
    ("the other is shut", (node("lb1", 0), node("lb2", 10, stance=Stance.SHUT)), []),
    ("itself shut", (node("lb1", 0, stance=Stance.SHUT), node("lb2", 10), node("lb3", 10)), []),
    ("itself heard by no router", (node("lb1", 0, up=0), node("lb2", 10), node("lb3", 10)), []),
    ("heard by fewer routers", (node("lb1", 0, up=1), node("lb2", 10, up=2)), []),
    ("a rate is unknown", (node("lb1", 0), node("lb2", 10), node("lb3", None)), []),
    ("a VIP is there, too", (node("lb1", 0), node("lb2", 10, vips=ACTIVE)), []),
    (
        "two services, same proportions",
        (node("lb1", 0, services={"edge": 100, "dns": 10}), node("lb2", 10, services={"edge": 50, "dns": 5})),
        [("announced-but-silent", "lb1"), ("announced-but-silent", "lb1")],
    ),
    (
        "two services, other proportions",
        (node("lb1", 0, services={"edge": 100, "dns": 10}), node("lb2", 10, services={"edge": 100, "dns": 5})),
        [],
    ),
    (
        "another service on one of them",
        (node("lb1", 0), node("lb2", 10, services={"edge": 100, "dns": 5})),
        [],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("reports", "findings"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_case(reports: tuple[NodeReport, ...], findings: list[tuple[str, str]]) -> None:
    assert codes(*reports) == findings


def test_it_says_what_came_what_was_due_and_why() -> None:
    (silent,) = Watching().window(node("lb1", 0), node("lb2", 10))
    assert silent.text.startswith(
        "lb1 announces edge, and no new connections came in 60 s; what the others get promises at "
        "least 527: "
    )
    assert "maximum-paths" in silent.text
    assert silent.data["window_s"] == 60
    (ignored,) = Watching().window(node("lb1", 10), node("lb2", 10, 25))
    assert ignored.text.startswith(
        "new connections of edge are spread evenly (lb1 50 %, lb2 50 % of 1200 in 60 s) and not by "
        "weight (lb1 80 %, lb2 20 %): "
    )
    assert "ebgp-recv-extcommunity-dmz" in ignored.text
    (named,) = Watching().window(node("lb1", 10, weighted=False), node("lb2", 10, 25))
    assert "lb1 sends no weight (weighted = false)" in named.text


BAD = (node("lb1", 0), node("lb2", 10))


def test_it_waits_for_enough_samples() -> None:
    watching = Watching()
    assert watching.window(*BAD, samples=SAMPLES_MIN - 1) == ()
    assert watching.step(*BAD, after_ns=INTERVAL_NS - 1) == ()
    assert watching.step(*BAD, after_ns=1)
    assert watching.readback.snapshot().samples == SAMPLES_MIN
    assert watching.readback.snapshot().arrivals == (("lb1", 0), ("lb2", 300))
    assert watching.readback.deadline_ns == watching.now_ns + INTERVAL_NS


CHANGES: list[tuple[str, Callable[[NodeReport], NodeReport]]] = [
    ("weight", lambda r: node("lb2", 10, 50)),
    ("stance", lambda r: node("lb2", 10, stance=Stance.WITHDRAWN)),
    ("routers", lambda r: node("lb2", 10, up=2)),
    ("a VIP", lambda r: node("lb2", 10, vips=ACTIVE)),
    ("gone", lambda r: node("lb3", 10)),
]


@pytest.mark.parametrize("change", [c[1] for c in CHANGES], ids=[c[0] for c in CHANGES])
def test_it_is_silent_after_a_change(change: Callable[[NodeReport], NodeReport]) -> None:
    watching = Watching()
    assert watching.window(*BAD)
    other = change(BAD[1])
    assert watching.step(BAD[0], other, after_ns=1) == ()
    assert watching.step(BAD[0], other, after_ns=SETTLE_NS - 1) == ()
    assert watching.readback.snapshot().samples == 0
    assert watching.window(*BAD, samples=SAMPLES_MIN - 1) == ()


def test_it_ends_when_connections_come() -> None:
    watching = Watching()
    assert watching.window(*BAD)
    well = (node("lb1", 10), node("lb2", 10))
    for _ in range(2):
        found = watching.step(*well, after_ns=INTERVAL_NS)
    assert found == ()


def test_old_samples_are_forgotten_while_nothing_is_known() -> None:
    watching = Watching()
    assert watching.window(*BAD)
    unknown = (node("lb1", None), node("lb2", 10))
    for _ in range(SAMPLES):
        found = watching.step(*unknown, after_ns=INTERVAL_NS)
    assert found == ()
    assert watching.readback.snapshot().samples == 0


def test_bounds_of_poisson_counts() -> None:
    # Exact: 6.908 and 16.455 (chi-square quantiles, halved); for 100 the exact bounds are 71.6 and 134.0.
    assert _at_most(0) == pytest.approx(6.91, rel=0.03)
    assert _at_most(5) == pytest.approx(16.455, rel=0.03)
    assert _at_most(100) == pytest.approx(134.0, rel=0.03)
    assert _at_least(100) == pytest.approx(71.6, rel=0.03)
    assert _at_least(0) == 0


@pytest.mark.parametrize("seed", range(20))
def test_no_false_alarm_on_real_chance(seed: int) -> None:
    """Connections drawn by weight, in bursts of up to 8 from one client: nothing is said."""
    draw = random.Random(seed)
    weights = [draw.choice([100, 50, 25]) for _ in range(draw.choice([2, 3, 4]))]
    watching = Watching()
    nodes = tuple(node(f"lb{n}", 0, w) for n, w in enumerate(weights))
    watching.step(*nodes)
    for turn in range(30):
        counts = [0] * len(weights)
        for _ in range(draw.randint(0, 60)):
            counts[draw.choices(range(len(weights)), weights)[0]] += draw.randint(1, 8)
        now = tuple(
            replace(n, new_connections_per_s=c / 10) for n, c in zip(nodes, counts, strict=True)
        )
        after_ns = SETTLE_NS if turn == 0 else INTERVAL_NS
        assert watching.step(*now, after_ns=after_ns) == ()
