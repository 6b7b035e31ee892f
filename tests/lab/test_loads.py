"""What is put on a node: bounded, and never less than was asked for."""

import subprocess
import sys

import pytest


def load(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "haman.lab.loads", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_load_says_what_it_did() -> None:
    done = load("hog", "2", "0.01")
    assert (done.returncode, done.stdout) == (0, "hog 2 0.01: 2\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("hog", "1", "901"), "a load of 901 s: 900 s is the most"),
        (("hog", "1", "soon"), "could not convert string to float: 'soon'"),
        (("hog",), "this is no load"),
    ],
)
def test_what_it_cannot_do_it_refuses(arguments: tuple[str, ...], said: str) -> None:
    done = load(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(said)
    assert "hog PROCESSES SECONDS" in done.stderr
