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
