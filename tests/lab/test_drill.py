"""The drill reader."""

from pathlib import Path
from unittest.mock import Mock

import pytest

from haman.lab.drill import Expect, read_drill, relaxed
from haman.lab.fit import misfits
from haman.lab.run import ended_well
from haman.lab.suite import topology_of
from haman.lab.topology import BadFileError, read_topology

DRILLS = sorted((Path(__file__).parents[2] / "lab" / "drills").glob("*.toml"))

PAIR = Path(__file__).parents[2] / "lab" / "pair.clab.yml"
GOOD = """
name = "d"
topology = "pair"
[[step]]
at_s = 2
fault = "kill"
node = "lb1"
process = "haproxy"
[expect]
holder = { web = "lb2" }
outage_ms_max = 20
"""


def read(tmp_path: Path, text: str):
    path = tmp_path / "d.toml"
    path.write_text(text)
    return read_drill(path)


@pytest.mark.parametrize("path", DRILLS, ids=lambda path: path.stem)
def test_shipped_drills_are_good_and_named_as_their_files(path: Path) -> None:
    drill = read_drill(path)
    assert drill.name == path.stem
    assert drill.about


def test_a_drill_runs_on_after_its_last_step(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD).length_s == 5
    assert read(tmp_path, "duration_s = 9\n" + GOOD).length_s == 9


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('name = "d"', "", "name: is missing"),
        ('fault = "kill"', 'fault = "kil"', "step[1].fault: must be one of"),
        ("at_s = 2", "at_s = -1", "step[1].at_s: must be at least 0"),
        ('process = "haproxy"', "", "the fault kill needs a process"),
        ('node = "lb1"', 'node = "lb1"\npeer = "lb2"', "the fault kill concerns no peer"),
        (
            '{ web = "lb2" }',
            '{ web = "lb2" }\nstances = { e = { lb1 = "gone" } }',
            "must be one of",
        ),
        ('fault = "kill"', 'fault = "silence"', "the fault silence concerns no process"),
        ('fault = "kill"\n', 'fault = "failover"\n', "the fault failover needs a vip"),
        ('fault = "kill"', 'fault = "partition"', "the fault partition needs a peer"),
        ('node = "lb1"', 'node = "lb1"\ncount = 9', "the fault kill concerns no count"),
        ("outage_ms_max", "outage_max_ms", "did you mean outage_ms_max?"),
        ('name = "d"', 'name = "d"\nduration_s = 1', "after the drill's end at 1 s"),
        ('holder = { web = "lb2" }', 'why_contains = ["x"]', "needs expect.holder"),
    ],
)
def test_a_problem_names_its_key(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    with pytest.raises(BadFileError) as caught:
        read(tmp_path, GOOD.replace(old, new))
    assert expected in str(caught.value)


@pytest.mark.parametrize("path", DRILLS, ids=lambda path: path.stem)
def test_shipped_drills_fit_their_topologies_and_expect_something(path: Path) -> None:
    drill = read_drill(path)
    topology = read_topology(topology_of(path, drill))
    assert misfits(path, drill, topology) == ()
    plain = type(drill.expect)()
    assert drill.expect != plain


def test_everything_that_a_topology_lacks_is_told_at_once(tmp_path: Path) -> None:
    text = GOOD.replace('"lb1"', '"lb9"').replace('web = "lb2"', 'wed = "lb7"')
    drill = read(tmp_path, text + 'events = { be8 = ["x"] }\nasked = "nobody"\n')
    found = misfits(tmp_path / "d.toml", drill, read_topology(PAIR))
    assert [problem.key for problem in found] == [
        "step[1].node",
        "expect.holder.wed",
        "expect.events.be8",
        "expect.asked",
        "expect.holder.wed",
    ]
    assert "no service 'wed' in pair; did you mean 'web'?" in found[-1].message
    other = read(tmp_path, GOOD.replace('"pair"', '"anycast"'))
    assert "is called 'pair'" in misfits(tmp_path, other, read_topology(PAIR))[0].message


def test_bounds_of_time_widen_and_no_others() -> None:
    drill = read_drill(PAIR.parent / "drills" / "node-silent.toml")
    wider = relaxed(drill, 2.5).expect
    assert wider.outage_ms_max == 1000
    assert wider.dual_holder_ms_max == drill.expect.dual_holder_ms_max
    assert wider.lost_established_max == drill.expect.lost_established_max


def test_whom_to_ask_may_be_named_without_a_holder(tmp_path: Path) -> None:
    told = 'announcers = { edge = ["lb2"] }\nwhy_contains = ["x"]'
    with pytest.raises(BadFileError, match="or asked and announcers"):
        read(tmp_path, GOOD.replace('holder = { web = "lb2" }', told))
    drill = read(tmp_path, GOOD.replace('holder = { web = "lb2" }', f'{told}\nasked = "lb1"'))
    assert drill.expect.announcers == {"edge": ("lb2",)}


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadFileError) as caught:
        read(tmp_path, GOOD.replace("at_s = 2", "at_s = -1").replace("outage_ms_max", "outage"))
    assert len(caught.value.problems) == 2


def test_a_drill_without_steps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="at least one"):
        read(tmp_path, 'name = "d"\ntopology = "p"\nstep = []\n')


def test_what_is_not_toml_or_not_there_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="line 2"):
        read(tmp_path, "a = 1\nname = \nb = 2\n")
    with pytest.raises(BadFileError, match="No such file"):
        read_drill(tmp_path / "none.toml")


def test_a_drill_waits_for_every_prefix_of_a_service() -> None:
    lab, expect = Mock(), Expect(announcers={"edge": ("lb3", "lb2")})
    lab.announcers.return_value = {"edge": {("lb2", "lb3"), ("lb1", "lb2", "lb3")}}
    assert not ended_well(lab, expect, {})
    lab.announcers.return_value = {"edge": {("lb2", "lb3")}}
    assert ended_well(lab, expect, {})
