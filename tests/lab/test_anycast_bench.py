"""The anycast benchmark's arithmetic and its preparation; its figures are not tests."""

import shutil
from pathlib import Path

import msgspec
import pytest

from haman.lab import anycast_bench as bench
from haman.lab.cost import Cost
from haman.lab.drill import Expect
from haman.lab.routers import prepare
from haman.lab.runtime import LabError
from haman.lab.services import CONFIGURATION
from haman.lab.topology import Topology, read_topology
from tests.lab.test_verdict import ALL, FAULT, MS, REST, record, routed

SHIPPED = Path(__file__).parents[2] / "lab"


@pytest.fixture
def topology(tmp_path: Path) -> Topology:
    (tmp_path / ".git").mkdir()
    shutil.copytree(SHIPPED, tmp_path / "lab")
    return read_topology(tmp_path / "lab" / "anycast.clab.yml")


def test_what_a_record_says_counts_from_the_fault() -> None:
    whole = msgspec.structs.replace(
        record(Expect()), routes=routed((0, ALL), (FAULT + 20 * MS, REST))
    )
    seen = bench.seen_in(whole, silent=False)
    assert seen.route_ms == 20
    assert seen.failing_ms == 9
    assert (seen.failed, seen.tried) == (10, 300)


def test_a_silence_counts_from_the_end_of_its_command() -> None:
    whole = msgspec.structs.replace(
        record(Expect()), routes=routed((0, ALL), (FAULT + 20 * MS, REST))
    )
    seen = bench.seen_in(whole, silent=True)
    assert (seen.route_ms, seen.failing_ms) == (19, 8)


def test_a_route_that_stays_is_never() -> None:
    whole = msgspec.structs.replace(record(Expect()), routes=routed((0, ALL)))
    assert bench.seen_in(whole, silent=False).route_ms is None


def test_the_table_shows_medians_ranges_and_sums() -> None:
    seen = {
        "proxy killed": (bench.Seen(60.0, 50.0, 3, 1000), bench.Seen(80.0, 70.0, 5, 1000)),
        "node drained under load": (bench.Seen(200.0, 0.0, 0, 2000),) * 2,
        "node silent": (bench.Seen(None, 400.0, 30, 1000),),
    }
    table = bench.Table((70.0, 75.0, 72.0), seen, Cost(0.1, 20.9), Cost(0.05, 8.2))
    lines = bench.to_markdown(table).splitlines()
    assert "| 70.0 ms (60.0–80.0, n = 2) | 60.0 ms (50.0–70.0, n = 2) |" in lines[2]
    assert "| 72.0 ms (70.0–75.0, n = 3) | 0 of 4,000 failed |" in lines[3]
    assert "| never | 400.0 ms (400.0–400.0, n = 1) |" in lines[4]
    assert "| 0.10 % of a core, 21 MB |" in lines[5]


def test_without_bfd_neither_nodes_nor_router_speak_it(topology: Topology) -> None:
    bare = bench.without_bfd(topology)
    prepare(bare)
    texts = [b.source.read_text() for n in bare.nodes for b in n.binds if b.target == CONFIGURATION]
    assert len(texts) == 3
    assert not any("bfd" in text for text in texts)
    router = (topology.path.parent.parent / ".lab/anycast/routers/frr.conf").read_text()
    assert " bfd profile" not in router
    prepare(topology)
    router = (topology.path.parent.parent / ".lab/anycast/routers/frr.conf").read_text()
    assert router.count(" bfd profile") == 6


def test_a_node_that_has_no_bfd_anyway_is_told(topology: Topology) -> None:
    with pytest.raises(LabError, match="has no line `bfd"):
        bench.without_bfd(bench.without_bfd(topology))
