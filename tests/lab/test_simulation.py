"""Drills in the model: the verdicts of the lab, faults that show, expectations that fail, reasons to skip."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from haman.cli.root import cli
from haman.lab.drill import Drill, Expect, Load, Step, read_drill
from haman.lab.runtime import UnshownError
from haman.lab.simulation import simulate, unjudged
from haman.lab.suite import topology_of
from haman.lab.topology import read_topology
from haman.lab.verdict import Record, judge

LAB = Path(__file__).parents[2] / "lab"
SHOWN = {
    "agent-crash-all",
    "agent-crash-controller",
    "agent-crash-engine",
    "anycast-agent-frozen",
    "anycast-all-boot",
    "anycast-all-nodes-fault",
    "anycast-controller-crash",
    "anycast-controller-frozen",
    "anycast-node-silent",
    "anycast-peers-apart",
    "anycast-proxy-crash",
    "anycast-proxy-hung",
    "asymmetric-loss",
    "both-boot",
    "clock-jump",
    "clock-jump-standby",
    "controller-frozen",
    "engine-frozen",
    "node-silent",
    "partition",
    "proxy-crash",
    "proxy-crash-controller-frozen",
    "proxy-hung",
}
"""What namespaces and the model both can show."""


def drilled(name: str, expect: Expect | None = None) -> Record:
    path = LAB / "drills" / f"{name}.toml"
    drill = read_drill(path)
    drill = replace(drill, expect=expect or drill.expect)
    return simulate(read_topology(topology_of(path, drill)), drill)


def broken(record: Record) -> list[str]:
    return [f"{v.name}: {v.got}" for v in judge(record) if not v.ok]


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_a_drill_that_passes_in_namespaces_passes_in_the_model(name: str) -> None:
    assert broken(drilled(name)) == []


def test_every_other_drill_is_skipped_with_a_reason() -> None:
    for path in sorted((LAB / "drills").glob("*.toml")):
        if path.stem not in SHOWN:
            with pytest.raises(UnshownError) as skipped:
                drilled(path.stem)
            assert "the model" in str(skipped.value) or "of a lab" in str(skipped.value)


@pytest.mark.parametrize(
    ("name", "expect", "why"),
    [
        ("proxy-crash", Expect(holder={"web": "lb1"}), "holder of web: lb2"),
        ("proxy-crash", Expect(outage_ms_max=1), "outage: "),
        ("proxy-crash", Expect(lost_established_max=49), "lost established connections: 50 of 50"),
        ("agent-crash-all", Expect(dual_holder_ms_max=1000), "held by two nodes: "),
        ("both-boot", Expect(unheld_ms_max=500), "held by no node: "),
        ("node-silent", Expect(moves_max=0), "moves: "),
        (
            "controller-frozen",
            Expect(no_events={"lb2": ("peer-lost",)}),
            "lb2 wrote: 1 × peer-lost",
        ),
        ("proxy-hung", Expect(conditions={"lb1": "in-service"}), "condition of lb1: fault"),
        ("anycast-proxy-crash", Expect(announcers={"edge": ("lb1",)}), "edge goes to: lb2, lb3"),
        ("anycast-proxy-crash", Expect(route_gone_ms_max=1), "router without the node after: "),
        ("anycast-all-nodes-fault", Expect(floor_ms_min=60_000), "carried by the floor: "),
    ],
)
def test_an_expectation_of_something_else_fails(name: str, expect: Expect, why: str) -> None:
    told = broken(drilled(name, expect=expect))
    assert any(text.startswith(why) for text in told), told


def test_a_step_that_another_ends_lasts_as_long_as_that() -> None:
    load = Load(connections=5, new_per_s=100)
    dead = Step(1, "kill", "lb1", "haproxy")
    drill = Drill("d", "pair", (dead, Step(3, "start", "lb1")), load=load, duration_s=9)
    back = simulate(read_topology(LAB / "pair.clab.yml"), drill)
    gone = simulate(read_topology(LAB / "pair.clab.yml"), replace(drill, step=(dead,)))
    assert back.moves == 2
    assert gone.moves == 1


def test_the_same_seed_gives_the_same_record() -> None:
    assert drilled("node-silent") == drilled("node-silent")


def test_what_the_model_cannot_say_is_named_and_not_judged() -> None:
    expect = Expect(
        holder={"web": "lb2"},
        why_contains=("lb2",),
        alerts={"lb1": ("saturated", "peer-lost")},
        events={"lb1": ("vip-released", "reload-completed")},
    )
    assert unjudged(expect) == (
        "why says “lb2”",
        "lb1 writes reload-completed",
        "lb1 alerts saturated",
    )
    left = {v.name: v.expected for v in judge(drilled("proxy-crash", expect=expect))}
    assert left == {
        "holder of web": "lb2",
        "lb1 wrote": "vip-released",
        "lb1 alerts": "peer-lost",
    }


def test_the_command_needs_no_root_and_counts_what_it_skips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(LAB.parent)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    words = ["lab", "drill", "--runtime", "sim", "--report", str(tmp_path)]
    done = CliRunner().invoke(cli, [*words, "proxy-crash", "tls-storm"])
    assert done.exit_code == 0, done.output
    assert "1 of 1 drills passed, 1 skipped" in done.output
    assert "not judged: why says" in done.output
    told = json.loads((tmp_path / "drills.json").read_text())
    assert [bool(drill["skipped"]) for drill in told["drills"]] == [False, True]


def test_a_single_drill_that_cannot_be_shown_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(LAB.parent)
    done = CliRunner().invoke(cli, ["lab", "drill", "--runtime", "sim", "disk-full"])
    assert done.exit_code == 1
    assert "the model has no disk" in done.output
