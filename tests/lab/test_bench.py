"""The benchmark's arithmetic and its preparation; its figures are not tests."""

from pathlib import Path

import msgspec
import pytest

from haman.config import reader
from haman.lab import bench, contenders
from haman.lab.cost import Cost
from haman.lab.drill import Expect
from haman.lab.runtime import LabError
from haman.lab.services import CONFIGURATION
from haman.lab.tenure import Tenure
from haman.lab.topology import read_topology
from tests.lab.test_verdict import END, FAULT, MS, VIP, record

PAIR = Path(__file__).parents[2] / "lab" / "pair.clab.yml"


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ((Tenure("lb1", 0, FAULT + 2 * MS), Tenure("lb2", FAULT + 3 * MS, END)), 3),
        ((Tenure("lb1", 0, FAULT + 20 * MS), Tenure("lb2", FAULT + 3 * MS, END)), 20),
        ((Tenure("lb1", 0, END),), 0),
        ((Tenure("lb1", 0, END), Tenure("lb2", FAULT + 3 * MS, END)), None),
        ((Tenure("lb1", 0, FAULT),), None),
    ],
)
def test_how_long_until_one_node_alone_has_the_address(spans, expected) -> None:
    whole = msgspec.structs.replace(record(Expect()), tenures={VIP: spans})
    assert bench.single_after_ms(whole) == expected


def test_the_table_shows_medians_ranges_and_what_never_came() -> None:
    rows = [
        bench.Row("proxy killed", {"keepalived": (500.0, 700.0, 600.0), "haman": (5.0, 6.0)}),
        bench.Row("agent killed", {"keepalived": (None, None), "haman": (8.0, None)}),
    ]
    costs = {"keepalived": Cost(0.1, 4.0), "haman": Cost(1.4, 65.2)}
    table = bench.to_markdown(bench.Table(tuple(rows), costs)).splitlines()
    assert "| 600.0 ms (500.0–700.0, n = 3) | 5.5 ms (5.0–6.0, n = 2) |" in table[2]
    assert "| never | 8.0 ms (8.0–8.0, n = 2); never: 1 |" in table[3]
    assert "| 0.1 % of a core, 4 MB | 1.4 % of a core, 65 MB |" in table[4]


@pytest.fixture
def pair(tmp_path: Path):
    """A copy of the lab's folder, so that rendered files stay out of the tree."""
    folder = tmp_path / "lab"
    for path in [*PAIR.parent.glob("nodes/**/*"), *PAIR.parent.glob("bench/*"), PAIR]:
        if path.is_file():
            copy = folder / path.relative_to(PAIR.parent)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    return folder / PAIR.name


@pytest.mark.parametrize(
    ("agent", "target", "line"),
    [
        (contenders.KEEPALIVE, contenders.KEEPALIVED, "advert_int 0.01\n"),
        (contenders.HAMAN, CONFIGURATION, "advert_interval_ms = 10\n"),
    ],
)
def test_both_agents_get_the_same_interval(pair: Path, agent, target, line) -> None:
    prepared, services = contenders.prepare(read_topology(pair), agent, 10)
    assert [vip.addresses for vip in services.vips] == [("10.77.0.100",)]
    for name in ("lb1", "lb2"):
        node = prepared.node(name)
        assert node is not None
        (bind,) = (bind for bind in node.binds if bind.target == target)
        assert line in bind.source.read_text()
        assert len({bind.target for bind in node.binds}) == len(node.binds)


def test_a_configuration_without_the_interval_is_told(pair: Path) -> None:
    path = pair.parent / "bench" / "keepalived-lb1.conf"
    path.write_text(path.read_text().replace("advert_int 0.1", "advert_int 1"))
    with pytest.raises(LabError, match=r"must hold 'advert_int 0\.1' once"):
        contenders.prepare(read_topology(pair), contenders.KEEPALIVE, 10)


@pytest.mark.parametrize(
    ("agent", "target", "has", "count"),
    [
        (contenders.HAMAN, CONFIGURATION, '[[vip]]\nname = "vr{n}"\n', 255),
        (contenders.KEEPALIVE, contenders.KEEPALIVED, "vrrp_instance vr{n} {{\n", 255),
        (contenders.KEEPALIVE_REALTIME, contenders.KEEPALIVED, "vrrp_instance vr{n} {{\n", 3),
    ],
)
def test_both_agents_get_as_many_virtual_routers(pair: Path, agent, target, has, count) -> None:
    prepared, services = contenders.prepare(read_topology(pair), agent, 100, count)
    assert [vip.name for vip in services.vips] == [f"vr{n}" for n in range(1, count + 1)]
    assert services.vips[-1].addresses == (f"10.78.0.{count}",)
    assert services.vips[0].nodes == ("lb1", "lb2")
    node = prepared.node("lb2")
    assert node is not None
    text = next(bind.source for bind in node.binds if bind.target == target).read_text()
    for n in (1, count):
        assert text.count(has.format(n=n)) == 1
        assert text.count(f"10.78.0.{n}/32") == 1
    assert text.count("\n    priority 100") + text.count("\npriority = 100") == count
    assert text.count("vrrp_rt_priority") == (agent is contenders.KEEPALIVE_REALTIME)
    if agent is contenders.HAMAN:
        config, problems = reader.parse(text, "lb2", hostname="lb2")
        assert config is not None, problems
        assert [vip.vrid for vip in config.vip] == list(range(1, count + 1))


def test_a_configuration_with_another_form_is_told(pair: Path) -> None:
    path = pair.parent / "bench" / "keepalived-lb1.conf"
    path.write_text(path.read_text().replace("10.77.0.100/24", "10.77.0.100/24\n10.77.0.101/24"))
    with pytest.raises(LabError, match="once"):
        contenders.prepare(read_topology(pair), contenders.KEEPALIVE, 100, 2)
