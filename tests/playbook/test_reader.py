"""Reading playbooks: all problems at once, parameters, and calls."""

import re
from pathlib import Path

import pytest

from haman.playbook import explain, shelf
from haman.playbook.model import Restart, Run, Upload, WaitFor
from haman.playbook.reader import read
from haman.playbook.words import title
from tests.playbook.books import book, problems_of

STEP = '[[step]]\ndo = "run"\ncommand = "true"\n'


@pytest.mark.parametrize("path", list(shelf.everything()), ids=lambda path: path.stem)
def test_every_shipped_playbook_can_be_read_and_told(path: Path) -> None:
    found, problems = read(path)
    assert found is not None, problems
    assert found.name == path.stem
    assert found.about
    told = explain.explain(found)
    assert found.about in told
    for step in (*found.before, *found.step, *found.after):
        assert title(step) in told


def test_the_playbook_that_the_readme_shows_can_be_read(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    (text,) = [block for block in blocks if "[[step]]" in block and "do =" in block]
    assert book(tmp_path, text).about
    for path in shelf.everything():
        assert f"| `{path.stem}`" in readme or f"and `{path.stem}`" in readme


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    text = """
name = "x"
abuot = "typo"
batch = 0
[guards]
soak_s = "long"
[[step]]
do = "runn"
command = "true"
[[step]]
do = "run"
comand = "true"
[[step]]
do = "restart"
[[step]]
do = "wait-for"
[[step]]
do = "upload"
source = "x"
to = "etc/x"
mode = "rw"
"""
    assert problems_of(tmp_path, text) == [
        "abuot: unknown key; did you mean about?",
        "batch: must be at least 1 and at most 1000, not 0",
        "guards.soak_s: must be a number, not text",
        "step[1].do: there is no runn; did you mean run?",
        "step[2].comand: unknown key; did you mean command?",
        "step[2].command: is missing",
        "step[3]: give a unit or a command, one of them",
        "step[4]: says nothing that must hold",
        'step[5].to: "etc/x" is not an absolute path',
        'step[5].mode: "rw" is no mode, as in "0644"',
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name = 'x'\n", "step: a playbook needs at least one [[step]]"),
        ("x\n", ":1:2: Expected '=' after a key in a key/value pair"),
        (
            "name = 'x'\nbatch = 2\n[[step]]\ndo = 'drain'\n[[step]]\ndo = 'undrain'\n",
            "batch: must be 1: step[1] may take its node out of service, and never two are out at once",
        ),
        (
            "name = 'x'\n[[step]]\ndo = 'drain'\n",
            'step[1]: is never undrained; say leaves = "drained" if the nodes shall stay out',
        ),
        (
            "name = 'x'\n[[before]]\ndo = 'drain'\nat = 'every'\n",
            "before[1].do: belongs in [[step]], where each node is guarded",
        ),
        (
            "name = 'x'\nagents = false\n[[step]]\ndo = 'wait-for'\nconnections_max = 0\n",
            "step[1]: asks the node's agent, and agents = false says that there is none",
        ),
        (
            "name = 'x'\n[inventory.host]\nlb1 = 'a b'\n" + STEP,
            'inventory.host.lb1: "a b" is not USER@HOST[:PORT]',
        ),
        (
            "name = 'x'\n[[step]]\ndo = 'download'\nsource = '/x'\nto = 'x'\n",
            "step[1].to: needs {{node}}: each node's file has its own name",
        ),
        (
            "name = 'x'\n[[step]]\ndo = 'run'\ncommand = 'echo {{wohm}}'\n[parameter.whom]\n",
            "step[1].command: there is no parameter wohm; did you mean whom?",
        ),
        (
            "name = 'x'\n[parameter.node]\ndefault = 'x'\n" + STEP,
            "parameter.node: node is what a step knows of its node; choose another name",
        ),
    ],
)
def test_a_problem(tmp_path: Path, text: str, problem: str) -> None:
    found = problems_of(tmp_path, text, whom="x") if "whom" in text else problems_of(tmp_path, text)
    assert any(line.endswith(problem) for line in found), found


PARAMETERS = """
name = "x"
[parameter.command]
type = "command"
default = "systemctl restart haproxy"
[parameter.words]
[parameter.count]
type = "whole"
min = 1
max = 9
default = 3
[parameter.sure]
type = "flag"
default = false
[parameter.size]
choices = ["small", "large"]
default = "small"
[[step]]
do = "restart"
command = "{{command}}"
[[step]]
do = "wait-for"
connections_max = "{{count}}"
[[step]]
do = "run"
command = "echo {{words}} {{node}}"
when = { set = "{{sure}}" }
"""


def test_parameters_take_their_places_with_their_types(tmp_path: Path) -> None:
    found = book(tmp_path, PARAMETERS, words="a 'b'; rm -rf /", count="7", sure="yes")
    restart, wait, run = found.step
    assert isinstance(restart, Restart)
    assert restart.command == "systemctl restart haproxy"
    assert isinstance(wait, WaitFor)
    assert wait.connections_max == 7
    assert isinstance(run, Run)
    # One word for the shell, whatever is in it; what only the node knows is filled in there.
    assert run.command == "echo 'a '\"'\"'b'\"'\"'; rm -rf /' {{node}}"
    assert run.when is not None
    assert run.when.set is True


def test_what_is_given_is_checked(tmp_path: Path) -> None:
    given = {"count": "12", "sure": "perhaps", "size": "huge", "wrods": "x"}
    assert problems_of(tmp_path, PARAMETERS, **given) == [
        "parameter.wrods: there is no such parameter; did you mean words?",
        "parameter.words: is missing: give it with --set words=…",
        "parameter.count: 12 must be at least 1 and at most 9",
        'parameter.sure: "perhaps" is not true or false',
        'parameter.size: "huge" must be one of small, large',
    ]


def test_a_call_puts_the_steps_of_another_playbook_in_its_place(tmp_path: Path) -> None:
    book(tmp_path, PARAMETERS, name="other", words="x")
    text = """
name = "x"
[[step]]
do = "call"
playbook = "other.toml"
parameters = { words = "hello", count = 5 }
[[step]]
do = "upload"
source = "file"
to = "/etc/file"
"""
    found = book(tmp_path, text)
    assert [type(step) for step in found.step] == [Restart, WaitFor, Run, Upload]
    assert isinstance(found.step[1], WaitFor)
    assert found.step[1].connections_max == 5
    assert isinstance(found.step[3], Upload)
    assert found.step[3].source == str(tmp_path / "file")


def call(other: str, more: str = "") -> str:
    return f'name = "x"\n[[step]]\ndo = "call"\nplaybook = "{other}"\n{more}'


def test_what_is_called_must_fit_who_calls(tmp_path: Path) -> None:
    """Several nodes at once, of which a called step takes each out of service."""
    text = 'name = "x"\nbatch = 2\n[[step]]\ndo = "call"\nplaybook = "rolling-restart"\n'
    (problem,) = problems_of(tmp_path, text)
    assert problem.endswith("may take its node out of service, and never two are out at once")
    text = 'name = "x"\nagents = false\n[[step]]\ndo = "call"\nplaybook = "rolling-restart"\n'
    assert "asks the node's agent" in problems_of(tmp_path, text)[0]


def test_a_cycle_is_refused_and_shown(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        (tmp_path / f"{name}.toml").write_text(call(f"{other}.toml"))
    found, problems = read(tmp_path / "a.toml", {})
    assert found is None
    assert "calls itself: a → b → c → a" in str(problems[-1])


def test_a_call_with_problems_names_them_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(PARAMETERS)
    more = "parameters = { count = 12 }\n[[step]]\ndo = 'call'\nplaybook = 'rolling-restrat'\n"
    assert problems_of(tmp_path, call("other.toml", more)) == [
        "step[1].parameters.words: is missing (a parameter of other)",
        "step[1].parameters.count: 12 must be at least 1 and at most 9 (a parameter of other)",
        "step[2].playbook: there is no playbook rolling-restrat; did you mean rolling-restart?",
    ]
