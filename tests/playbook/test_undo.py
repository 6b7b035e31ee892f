"""What taking a node back means, case by case."""

from pathlib import Path

import pytest

from haman.playbook.script import Lane, script
from haman.playbook.undo import undo
from tests.playbook.books import book

UPGRADE = """
name = "x"
[[step]]
do = "drain"
[[step]]
do = "wait-for"
connections_max = 0
on_failure = "continue"
[[step]]
do = "upload"
source = "a"
to = "/etc/a"
[[step]]
do = "run"
command = "upgrade"
undo = "downgrade"
[[step]]
do = "run"
command = "look"
[[step]]
do = "restart"
unit = "x"
[[step]]
do = "wait-for"
proxy_up = true
[[step]]
do = "undrain"
[[step]]
do = "wait-for"
serving = true
"""
RELOAD = """
name = "x"
[[step]]
do = "upload"
source = "a"
to = "/etc/a"
[[step]]
do = "reload"
unit = "x"
[[step]]
do = "wait-for"
proxy_up = true
"""


def taken_back(lane: Lane, *attempted: str, failed: bool = True) -> list[str]:
    """Titles of what is done to take a lane back, of which the last task attempted failed."""
    done = {f"a/{key}": True for key in attempted}
    if failed and attempted:
        done[f"a/{attempted[-1]}"] = False
    return [task.title for task in undo(lane, done).tasks]


def lane_of(folder: Path, text: str) -> Lane:
    return script(book(folder, text), ("a",)).stages[0].lanes[0]


BACK = ["undrain", "wait for it to serve as before", "serves again, and nothing is worse"]


@pytest.mark.parametrize(
    ("attempted", "titles"),
    [
        ("", []),
        ("guard", []),
        ("guard 1", BACK),
        ("guard 1 2", BACK),
        ("guard 1 2 3", ["restore /etc/a", *BACK]),
        ("guard 1 2 3 4", ["undo: run `upgrade`", "restore /etc/a", *BACK]),
        (
            "guard 1 2 3 4 5 6",
            [
                "drain, until it serves nothing",
                "wait for at most 0 connections",
                "undo: run `upgrade`",
                "restore /etc/a",
                "restart unit x",
                "wait for its proxy to be up",
                *BACK,
            ],
        ),
    ],
)
def test_a_node_that_was_drained(tmp_path: Path, attempted: str, titles: list[str]) -> None:
    assert taken_back(lane_of(tmp_path, UPGRADE), *attempted.split()) == titles


def test_a_node_that_is_back_already_is_drained_again_before_its_restart(tmp_path: Path) -> None:
    every = ("guard", "1", "2", "3", "4", "5", "6", "7", "8", "9", "soak")
    lane = lane_of(tmp_path, UPGRADE)
    assert taken_back(lane, *every, failed=False)[0] == "drain, until it serves nothing"
    passes = {
        task.title: task.passes
        for task in undo(lane, dict.fromkeys((f"a/{key}" for key in every), True)).tasks
    }
    assert passes["wait for at most 0 connections"]
    assert not passes["restore /etc/a"]


def test_what_was_only_reloaded_is_not_drained(tmp_path: Path) -> None:
    lane = lane_of(tmp_path, RELOAD)
    again = "serves again, and nothing is worse"
    assert taken_back(lane, "1") == ["restore /etc/a", again]
    assert taken_back(lane, "1", "guard", "2") == ["restore /etc/a", "reload unit x", again]


def test_where_nothing_can_be_restored_nothing_is_restarted(tmp_path: Path) -> None:
    text = UPGRADE.replace('undo = "downgrade"\n', "")
    text = text.replace('[[step]]\ndo = "upload"\nsource = "a"\nto = "/etc/a"\n', "")
    lane = lane_of(tmp_path, text)
    assert taken_back(lane, "guard", "1", "2", "3", "4", "5") == BACK
    assert taken_back(lane, *("guard", *"12345678", "soak")) == []
