"""`haman simulate`: what people and machines are told, and the exit status."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from haman.cli import simulate as verb
from haman.cli.goodput import bars
from haman.cli.simulate import simulate
from tests.sim.planted import BUGS

SCENARIO = """\
name = "small"
about = "three nodes, one of them hot"
nodes = 3
load = 0.5
duration_s = 40
[[event]]
what = "hot"
at_s = 10
for_s = 20
times = 2
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO)
    return path


def run(*arguments: str | Path):
    return CliRunner().invoke(simulate, [str(a) for a in arguments])


def test_a_seed_is_told_with_its_options_faults_and_transcript() -> None:
    result = run("--seed", 5, "--shape", "pair")
    assert result.exit_code == 0, result.output
    assert "seed 5: pair, 2 nodes" in result.output
    assert "fault: " in result.output
    assert "every invariant held" in result.output


def test_the_same_seed_has_the_same_digest() -> None:
    digests = {
        json.loads(run("--seed", 5, "--shape", "pair", "--json").output)["digest"] for _ in "ab"
    }
    assert len(digests) == 1


def test_seeds_are_counted() -> None:
    result = run("--seeds", "1..3", "--shape", "pair", "--processes", 1, "--json")
    assert result.exit_code == 0
    document = json.loads(result.output)
    assert document["seeds"] == 3
    assert document["shapes"] == {"pair": 3}
    assert document["failures"] == []
    assert "3 seeds (3 pair)" in run("--seeds", "1..3", "--shape", "pair", "--processes", 1).output


def test_a_violation_is_told_and_is_exit_1(monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS["no-dwell"][0](monkeypatch)
    result = run("--seeds", "3..3", "--processes", 1)
    assert result.exit_code == 1
    assert "seed 3 violates dwell" in result.output
    assert "1 violated invariant" in result.output


def test_a_scenario_is_drawn_and_counted(small: Path) -> None:
    result = run(small)
    assert result.exit_code == 0, result.output
    assert "small: three nodes, one of them hot" in result.output
    assert "served    " in result.output
    assert "haman" in result.output


def test_policies_are_compared_and_written_down(small: Path, tmp_path: Path) -> None:
    page, picture = tmp_path / "e.html", tmp_path / "e.svg"
    result = run(small, "--compare", "--processes", 1, "--html", page, "--svg", picture)
    assert result.exit_code == 0, result.output
    for policy in ("naive", "hysteresis", "weight", "haman"):
        assert policy in result.output
        assert policy in picture.read_text()
        assert policy in page.read_text()
    assert "http" not in page.read_text().replace("http://www.w3.org/2000/svg", "")


def test_figures_for_machines(small: Path) -> None:
    document = json.loads(run(small, "--policy", "naive", "--json").output)
    (found,) = document["runs"]
    assert found["policy"] == "naive"
    assert 0 < found["served"] <= 1
    assert document["violations"] == []


def test_a_cluster_that_falls_silent_is_exit_1(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verb, "violations", lambda _: ("last-announcer: nobody",))
    result = run(small)
    assert result.exit_code == 1
    assert "small violates last-announcer" in result.output


def test_every_problem_of_every_scenario_is_exit_2(small: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text(SCENARIO.replace("nodes = 3", "nodes = 0").replace('"hot"', '"hit"'))
    result = run(small, bad, tmp_path / "none.toml")
    assert result.exit_code == 2
    for part in ("nodes: must be at least 2", "did you mean hot?", "none.toml: No such file"):
        assert part in result.output


@pytest.mark.parametrize(
    "arguments", [("--seeds", "3"), ("--seeds", "9..3"), ("--compare",), ("--policy", "none")]
)
def test_what_cannot_be_asked_is_exit_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_seeds_are_not_for_scenarios(small: Path) -> None:
    assert run(small, "--seeds", "1..2").exit_code == 2


def test_bars() -> None:
    assert bars([0, 1, 2, 4], 4) == " ▂▄█"
    assert bars([], 1) == ""
    assert len(bars([1.0] * 1000, 1)) == 72
