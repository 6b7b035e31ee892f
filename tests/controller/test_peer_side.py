"""When this node's report goes out."""

import pytest

from haman.cluster.mesh import Mesh
from haman.config.model import Cluster, Peer
from haman.controller.peer_side import PeerSide
from haman.controller.surface import Accepted, Outcome
from haman.core.reports import NodeReport
from haman.core.words import Condition

NS_PER_MS = 1_000_000


class SetClock:
    def __init__(self) -> None:
        self.ms = 1e6

    def monotonic_ns(self) -> int:
        return round(self.ms * NS_PER_MS)

    def wall_ns(self) -> int:
        return 0


class CountingMesh(Mesh):
    """Sends nothing; remembers when it was to."""

    def __init__(self, clock: SetClock) -> None:
        self.clock = clock
        self.published_ms: list[float] = []

    def publish(self, report: NodeReport, peer: str = "") -> bool:
        self.published_ms.append(self.clock.ms - 1e6)
        return True

    def step(self, now_ns: int) -> tuple[()]:
        return ()


async def never(_order: object) -> Outcome:
    return Accepted("")


@pytest.mark.parametrize(
    ("interval_ms", "ticks_ms", "published_ms"),
    [
        (200, (0, 200, 400, 600), [0, 200, 400, 600]),
        (200, (0, 290, 400, 600), [0, 290, 400, 600]),
        (200, (0, 199.5, 400), [0, 199.5, 400]),
        (200, (0, 20, 200, 220, 400), [0, 200, 400]),
        (2000, (0, 500, 1000, 1500, 2000, 2500), [0, 2000]),
    ],
    ids=["in time", "one is late", "one is early", "more ticks than reports", "a long interval"],
)
async def test_a_report_goes_out_each_interval_however_late_the_last_was(
    interval_ms: int, ticks_ms: tuple[float, ...], published_ms: list[float]
) -> None:
    clock = SetClock()
    mesh = CountingMesh(clock)
    config = Cluster(
        name="pair",
        key_file="/nowhere",
        listen="10.77.0.11:4710",
        report_interval_ms=interval_ms,
        peer=(Peer("lb2", ("10.77.0.12:4710",)),),
    )
    own = NodeReport("lb1", "", "1", Condition.IN_SERVICE)
    side = PeerSide(mesh, config, clock, lambda: own, never)
    for at_ms in ticks_ms:
        clock.ms = 1e6 + at_ms
        side.tick()
    assert mesh.published_ms == published_ms
