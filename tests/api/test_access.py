"""Who may do what on a real socket: real users and groups, by children that become them."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from haman.api.listener import listen
from tests.api.serving import Served, serving

pytestmark = [
    pytest.mark.privileged,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: children become other users"),
]
STRANGER, OPERATORS, READERS = 54321, ("daemon", 1), ("bin", 2)
ASK = """
import json, os, sys
from haman.api.client import Client, RefusedError, UnreachableError
from haman.api.schema import Intent

socket, uid, gid, *more = sys.argv[1:]
os.setgroups([int(g) for g in more])
os.setgid(int(gid))
os.setuid(int(uid))
told = {}
try:
    told["read_only"] = Client(socket).status().read_only
    told["done"] = Client(socket).act("pause", Intent()).text
except RefusedError as error:
    told["refused"] = [error.status, error.problem.code, error.problem.message]
except UnreachableError as error:
    told["unreachable"] = str(error)
print(json.dumps(told))
"""


def ask(socket: str, uid: int, gid: int, *more: int) -> dict[str, Any]:
    """What a user with these groups is told: the status, and then about an act."""
    words = [sys.executable, "-c", ASK, socket, *map(str, (uid, gid, *more))]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that everybody may enter, as /run/haman is."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    with serving(folder, group=OPERATORS[0], readers=READERS[0]) as found:
        yield found


@pytest.mark.parametrize("groups", [(1,), (9, 1)], ids=["primary", "supplementary"])
def test_operators_may_act(served: Served, groups: tuple[int, ...]) -> None:
    told = ask(served.socket, STRANGER, *groups)
    assert told["read_only"] == ""
    assert "done" in told


@pytest.mark.parametrize("groups", [(2,), (9, 2)], ids=["primary", "supplementary"])
def test_readers_may_read_and_are_told_why_they_may_not_act(
    served: Served, groups: tuple[int, ...]
) -> None:
    told = ask(served.socket, STRANGER, *groups)
    assert told["read_only"] == f"user {STRANGER} is not in the group daemon"
    status, code, message = told["refused"]
    assert (status, code) == (403, "forbidden")
    assert message == f"user {STRANGER} is not in the group daemon: pause is for operators alone"
    assert not served.agent.paused


def test_a_reader_who_is_an_operator_too_may_act(served: Served) -> None:
    assert ask(served.socket, STRANGER, *(2, 1))["read_only"] == ""


def test_root_may_act(served: Served) -> None:
    assert "done" in ask(served.socket, 0, 9)


def test_nobody_else_gets_in(served: Served) -> None:
    assert "no permission" in ask(served.socket, STRANGER, 9)["unreachable"]


def test_without_readers_the_file_alone_decides(folder: Path) -> None:
    with serving(folder, group=OPERATORS[0]) as served:
        assert "done" in ask(served.socket, STRANGER, 1)
        assert "no permission" in ask(served.socket, STRANGER, 2)["unreachable"]


def test_readers_that_are_no_group_are_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    listener, _ = listen(folder / "haman.sock", "", "no-such-group")
    listener.close()
    assert 'there is no group "no-such-group"; readers do not get in' in caplog.text
