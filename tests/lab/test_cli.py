"""`haman lab` as people meet it: messages and exit statuses."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from haman.cli.lab import lab
from tests.lab.labs import checkout


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = checkout(tmp_path / "tree")
    monkeypatch.chdir(path.parent)
    return path


def run(*words: str) -> Result:
    return CliRunner().invoke(lab, words)


def test_a_bad_topology_lists_its_problems_and_is_a_usage_error(tree: Path) -> None:
    tree.write_text("name: ''\ntopology: {nodes: {}}\n")
    done = run("up", str(tree))
    assert done.exit_code == 2
    assert "name: must begin" in done.stderr
    assert "topology.nodes: a lab needs at least one node" in done.stderr


def test_a_bad_drill_is_a_usage_error(tree: Path) -> None:
    drill = tree.with_name("d.toml")
    drill.write_text("name = 3\n")
    done = run("drill", str(drill))
    assert done.exit_code == 2
    assert "name: must be text" in done.stderr


BAD = """
name: bad
topology:
  nodes:
    a: {kind: srl, image: haman-lab}
    b: {kind: linux}
  links:
    - endpoints: ["a:eth1", "b:eth1"]
    - endpoints: ["a:eth1", "c:eth1"]
"""
BAD_DRILL = """
name = "d"
topology = "two"
[[step]]
at_s = 1
fault = "explode"
node = "a"
[[step]]
at_s = 1
fault = "silence"
node = "lb9"
[expect]
holder = { web = "lb8" }
"""


def test_a_topology_with_everything_wrong_is_told_in_one_go(tree: Path) -> None:
    bad = tree.with_name("bad.clab.yml")
    bad.write_text(BAD)
    done = run("up", str(bad))
    assert done.exit_code == 2
    assert [line.removeprefix(f"{bad}: ") for line in done.stderr.splitlines()] == [
        "topology.nodes.a.kind: must be 'linux', not 'srl'",
        "topology.nodes.b.image: is missing; the lab's own is haman-lab",
        "topology.links[1]: a:eth1 is used twice",
        "topology.links[1]: there is no node 'c'",
    ]


def test_drills_with_everything_wrong_are_told_in_one_go(tree: Path) -> None:
    """What is wrong with a file by itself, and what its topology lacks for it."""
    drills = tree.with_name("drills")
    drills.mkdir()
    (drills / "d.toml").write_text(BAD_DRILL)
    (drills / "e.toml").write_text('name = "e"\ntopology = "nowhere"\nstep = []\n')
    done = run("drill", str(drills / "d.toml"), str(drills / "e.toml"))
    assert done.exit_code == 2
    told = done.stderr
    for text in (
        "d.toml: step[1].fault: must be one of",
        "d.toml: step[2].node: there is no node 'lb9' in two",
        "d.toml: expect.holder.web: there is no node 'lb8' in two",
        "d.toml: expect.holder.web: there is no service 'web' in two",
        "e.toml: step: a drill needs at least one [[step]]",
        "nowhere.clab.yml: No such file",
    ):
        assert text in told


@pytest.mark.usefixtures("tree")
def test_down_without_a_lab_is_fine() -> None:
    done = run("down")
    assert (done.exit_code, done.stdout) == (0, "no lab is up in this checkout\n")


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize("runtime", ["sim", "podman"])
def test_runtimes_that_are_not_there_are_refused_with_those_that_are(runtime: str) -> None:
    done = run("up", "two.clab.yml", "--runtime", runtime)
    assert done.exit_code == 2
    assert "'netns'" in done.stderr


def test_without_root_it_says_so(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = run("up", str(tree))
    assert done.exit_code == 1
    assert "need root" in done.stderr


@pytest.mark.privileged
@pytest.mark.usefixtures("tree")
def test_the_whole_round() -> None:
    assert run("status").exit_code == 1
    try:
        assert run("up", "two.clab.yml").exit_code == 0
        again = run("up", "two.clab.yml")
        assert again.exit_code == 1
        assert "already up" in again.stderr
        status = run("status")
        assert status.exit_code == 0
        assert "sleep" in status.stdout
        assert run("exec", "a", "--", "sh", "-c", "exit 7").exit_code == 7
        unknown = run("exec", "c", "true")
        assert unknown.exit_code == 1
        assert "no node 'c'" in unknown.stderr
    finally:
        assert run("down").stdout == "lab two is down\n"


DRILL = """
name = "{0}"
about = "Nothing."
topology = "two"
[load]
new_per_s = 10
[[step]]
at_s = 1
fault = "silence"
node = "a"
[expect]
failed_connections_max = 0
"""


@pytest.mark.privileged
def test_a_set_of_drills_leaves_a_lab_alone_that_is_up(tree: Path) -> None:
    folder = tree.with_name("drills")
    folder.mkdir()
    files = [folder / f"{name}.toml" for name in ("first", "second")]
    for file in files:
        file.write_text(DRILL.format(file.stem))
    try:
        assert run("up", "two.clab.yml").exit_code == 0
        refused = run("drill", *map(str, files))
        assert refused.exit_code == 1, refused.stderr
        assert "lab two is up" in refused.stderr
        assert run("status").exit_code == 0
    finally:
        assert run("down").stdout == "lab two is down\n"


@pytest.mark.privileged
def test_with_two_labs_up_a_command_says_which(tree: Path) -> None:
    text = tree.read_text().replace("name: two", "name: other")
    tree.with_name("other.clab.yml").write_text(text.replace("COLOUR: blue", "COLOUR: red"))
    try:
        assert run("up", "two.clab.yml").exit_code == 0
        assert run("up", "other.clab.yml").exit_code == 0
        unsaid = run("status")
        assert unsaid.exit_code == 1
        assert "other, two" in unsaid.stderr
        assert "--lab" in unsaid.stderr
        assert run("status", "--lab", "other").stdout.startswith("lab other from ")
        red = ("sh", "-c", "test $COLOUR = red")
        assert run("exec", "--lab", "other", "b", "--", *red).exit_code == 0
        assert run("exec", "--lab", "two", "b", "--", *red).exit_code == 1
        assert run("down", "--lab", "two").stdout == "lab two is down\n"
        assert run("status").stdout.startswith("lab other from ")
    finally:
        assert run("down").stdout == "lab other is down\n"
    assert run("down", "--lab", "two").stdout == "lab two is not up in this checkout\n"
