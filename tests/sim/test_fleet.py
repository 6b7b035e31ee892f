"""Fleets: load finds its way, and policies differ as they must."""

from collections.abc import Callable
from pathlib import Path

import pytest

from haman.cli.scenario import BadScenarioError, read_scenario
from haman.sim.fleet.cluster import Cluster
from haman.sim.fleet.evidence import Figures, compare, figures, violations
from haman.sim.fleet.fleet import POLICIES, Fleet
from haman.sim.fleet.node import Node
from haman.sim.fleet.policies import Healthcheck
from haman.sim.fleet.scenario import Event, Scenario

SCENARIOS = Path(__file__).parent.parent.parent / "lab" / "scenarios"
HOT = Scenario("hot", 5, 90, 0.6, (Event("hot", 20, 50, times=1.6),), hold_s=5)
CRUSH = Scenario("crush", 5, 90, 0.8, (Event("surge", 20, 30, times=1.5),), hold_s=5)


def run(scenario: Scenario, policy: str) -> Figures:
    return figures(Fleet(scenario, policy, 1).run())


def test_calm_nodes_serve_everybody_under_every_policy() -> None:
    calm = Scenario("calm", 5, 30, 0.5)
    for policy in POLICIES:
        found = run(calm, policy)
        assert found.served == pytest.approx(1.0)
        assert found.moves == 0


def test_one_hot_node_sheds_by_permit_and_takes_it_back() -> None:
    run_ = Fleet(Scenario("hot", 5, 240, 0.6, HOT.event, hold_s=5), "haman", 1).run()
    assert max(run_.series.shedding) == 1
    assert run_.series.shedding[-1] == 0
    assert figures(run_).served > 0.97


def test_naive_nodes_fall_one_after_the_other_and_haman_holds() -> None:
    naive, haman = run(CRUSH, "naive"), run(CRUSH, "haman")
    assert naive.silent_s > 0
    assert haman.silent_s == 0
    assert haman.moves == 0  # all are busy: one cause
    assert haman.served > naive.served + 0.2


def test_nothing_moves_nothing_and_a_healthcheck_moves_what_is_busy() -> None:
    assert run(HOT, "nothing").moves == 0
    assert run(HOT, "healthcheck").moves > 0


@pytest.mark.parametrize(("share", "wanted"), [(0.80, 100), (0.82, 0)])
def test_a_healthcheck_reads_the_handshakes_that_were_finished_and_nothing_else(
    share: float, wanted: int
) -> None:
    node = Node(1, 100.0, 2.0, 1.0)
    policy = Healthcheck(Cluster([node], 10.0))
    node.server.busy, node.server.handshakes_per_s = 1.0, 100.0
    node.served_per_s = 100.0 * share
    policy.step(0, [node])
    assert node.wanted == wanted


def test_nodes_may_be_known_to_differ() -> None:
    small = Scenario("small", 3, 30, 0.75, capacities=(100.0, 400.0, 400.0))
    run_ = Fleet(small, "weight", 1).run()
    assert run_.series.wanted[10] == pytest.approx(0.75 * 900, rel=0.05)
    assert run_.moves > 0  # a third is more than the small one can do


def test_a_vip_moves_only_where_it_fits() -> None:
    crush = Scenario("pair", 2, 60, 0.7, CRUSH.event, service="vip", hold_s=5)
    naive, haman = run(crush, "naive"), run(crush, "haman")
    assert naive.moves > 5
    assert haman.moves == 0
    assert haman.served > naive.served


def test_a_fleet_is_the_same_again() -> None:
    assert run(HOT, "haman") == run(HOT, "haman")


def test_a_silent_cluster_is_a_violation_of_haman_alone() -> None:
    for run_ in compare([CRUSH], 1, 1, ["naive", "haman"]):
        assert violations(run_) == ()
        run_.series.silent[-1] = 1
        assert bool(violations(run_)) is (run_.policy == "haman")


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.toml")), ids=lambda p: p.stem)
def test_shipped_scenarios_are_sound(path: Path) -> None:
    scenario = read_scenario(path)
    assert scenario.name == path.stem
    assert scenario.about


def test_every_problem_of_a_scenario_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(
        'name = "bad"\nnodes = 40\nload = -1\nservice = "vip"\nduration_s = 60\nlod = 1\n'
        f"capacities = {[1] * 41}\n"
        '[[event]]\nwhat = "loose"\nat_s = 90\n'
    )
    with pytest.raises(BadScenarioError) as error:
        read_scenario(path)
    told = "\n".join(error.value.problems)
    for part in (
        "load: must be",
        "lod: unknown key",
        "event[1].what",
        "comes at 90 s",
        "share a VIP",
        "has 41 capacities for 40 nodes",
    ):
        assert part in told


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_text("name = "),
        lambda path: path.write_bytes(b"\xff"),
        lambda path: None,
    ],
    ids=["syntax", "encoding", "missing"],
)
def test_a_file_that_is_no_scenario(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    spoil(tmp_path / "no.toml")
    with pytest.raises(BadScenarioError, match=r"no\.toml"):
        read_scenario(tmp_path / "no.toml")
