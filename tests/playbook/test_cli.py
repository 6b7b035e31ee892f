"""`haman playbook` as people meet it: messages and exit statuses."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from haman.cli.playbook import playbook
from haman.playbook import journal, shelf

STEP = '[[step]]\ndo = "run"\ncommand = "true"\n'


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.chdir(tmp_path)


def run(*words: str) -> Result:
    return CliRunner().invoke(playbook, words)


def test_the_list_has_every_shipped_playbook() -> None:
    done = run("list")
    assert done.exit_code == 0
    names = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert {path.stem for path in shelf.everything()} == set(names)
    assert {"rolling-restart", "rotate-ticket-keys", "collect-support"} <= set(names)


def test_show_tells_it_in_words() -> None:
    done = run("show", "rolling-restart", "--set", "drain_s=7")
    assert done.exit_code == 0
    assert "On each node, one at a time, those that hold a VIP last:" in done.stdout
    assert "(only if all others are in service, and N−1 holds without it)" in done.stdout
    assert "within 7 s" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "rolling-restrat"), "there is no playbook; did you mean rolling-restart?"),
        (("run", "none.toml"), "none.toml: no such file"),
        (("run", "push-config"), "parameter.source: is missing: give it with --set source=…"),
        (("run", "rolling-restart", "--set", "x"), '"x" is not NAME=VALUE'),
        (("run", "rolling-restart", "--host", "lb1=a b"), '"a b" is not USER@HOST[:PORT]'),
        (
            ("run", "rolling-restart", "--set", "drain_s=x"),
            'parameter.drain_s: "x" is not a number',
        ),
    ],
)
def test_what_is_written_wrong_is_a_usage_error(words: tuple[str, ...], said: str) -> None:
    done = run(*words)
    assert done.exit_code == 2
    assert said in done.stderr


def test_a_playbook_with_problems_lists_them_all(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('name = "x"\n[[step]]\ndo = "rum"\n[[step]]\ndo = "pause"\n')
    done = run("run", "x.toml")
    assert done.exit_code == 2
    assert "x.toml: step[1].do: there is no rum; did you mean run?" in done.stderr
    assert "x.toml: step[2].seconds: is missing" in done.stderr


def test_no_agent_is_exit_3(tmp_path: Path) -> None:
    done = run("run", "rolling-restart", "--socket", str(tmp_path / "none.sock"))
    assert done.exit_code == 3
    assert "is the agent running?" in done.stderr


def test_no_node_is_exit_3_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(f'name = "x"\nagents = false\n{STEP}')
    done = run("run", "x.toml", "--host", "lb1=root@127.0.0.1:1")
    assert done.exit_code == 3
    assert "lb1: 127.0.0.1:1: Connection refused" in done.stderr
    assert not list(tmp_path.rglob("*.jsonl"))
    assert run("run", "x.toml", "--host", "lb1=root@127.0.0.1:1", "--check").exit_code == 3


def test_resume_of_nothing() -> None:
    done = run("resume", "none-1")
    assert done.exit_code == 1
    assert "none-1.jsonl: No such file or directory" in done.stderr
    assert run("list", "--runs").stdout == "no run was made here\n"


def test_a_broken_journal_is_listed_as_such(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    (folder / f"x-1{journal.SUFFIX}").write_text("{}\n")
    assert "is not a journal's line" in run("list", "--runs", "--journal", str(folder)).stdout
    done = run("resume", "x-1", "--journal", str(folder))
    assert done.exit_code == 1
    assert "is not a journal's line" in done.stderr
