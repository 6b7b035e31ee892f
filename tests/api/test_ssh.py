"""The API through a real sshd on loopback."""

import logging
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from haman.api import schema
from haman.api.client import Client, UnreachableError
from haman.api.ssh import SshError, find_target, forward
from haman.api.targets import Target, parse_target
from tests.api.serving import Served, serving
from tests.sshd import Sshd, running_sshd


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("ops@lb2", Target("ops", "lb2", 22)),
        ("ops@lb2:2222", Target("ops", "lb2", 2222)),
        ("ops@[2001:db8::1]:2222", Target("ops", "2001:db8::1", 2222)),
        ("ops@[2001:db8::1]", Target("ops", "2001:db8::1", 22)),
    ],
)
def test_targets(text: str, target: Target) -> None:
    assert parse_target(text) == target


def test_the_user_is_oneself() -> None:
    assert parse_target("lb2").host == "lb2"
    assert parse_target("lb2").user


@pytest.mark.parametrize(
    "text", ["", "@lb2", "ops@", "ops@lb2:", "ops@lb2:x", "a b", "ops@2001:db8::1"]
)
def test_no_targets(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not USER@HOST\[:PORT\]"):
        parse_target(text)


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture
def login(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Sshd:
    monkeypatch.setenv("HOME", str(sshd.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    sshd.trust(sshd.host_key)
    return sshd


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as running:
        yield running


@pytest.mark.privileged
def test_questions_wishes_and_streams(login: Sshd, served: Served) -> None:
    with forward(login.target, served.socket) as path:
        client = Client(path)
        assert client.status().node == "lb1"
        assert client.act("pause", schema.Intent()).text
        served.call(lambda: served.agent.emit("peer-lost", "one"))
        events = client.follow(since=0)
        assert next(events).text == "one"
        served.call(lambda: served.agent.emit("peer-found", "two"))
        assert next(events).text == "two"
        assert [client.status().paused for _ in range(20)] == [True] * 20
        events.close()  # type: ignore[attr-defined]
    assert not os.path.lexists(path)


@pytest.mark.privileged
def test_a_big_answer_comes_whole(login: Sshd, served: Served) -> None:
    served.call(lambda: [served.agent.emit("peer-lost", "x" * 5000) for _ in range(400)])
    with forward(login.target, served.socket) as path:
        assert len(Client(path).events(0, 1000)) == 400


@pytest.mark.privileged
def test_an_unknown_host_key_is_refused(login: Sshd, served: Served) -> None:
    (login.home / ".ssh/known_hosts").write_text("")
    with pytest.raises(SshError, match="unknown host keys are refused"):  # noqa: SIM117
        with forward(login.target, served.socket):
            pytest.fail("trusted on first use")


@pytest.mark.privileged
def test_a_changed_host_key_is_refused(login: Sshd, served: Served) -> None:
    login.trust((login.home.parent / "other.pub").read_text().strip())
    with pytest.raises(SshError, match="its host key has changed"):  # noqa: SIM117
        with forward(login.target, served.socket):
            pytest.fail("trusted another key")


@pytest.mark.privileged
def test_without_a_key_nobody_gets_in(
    login: Sshd, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ssh").mkdir()
    shutil.copy(login.home / ".ssh/known_hosts", tmp_path / ".ssh")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SshError, match=r"no key was accepted|No authentication methods"):  # noqa: SIM117
        with forward(login.target, served.socket):
            pytest.fail("logged in without a key")


@pytest.mark.privileged
def test_no_agent_over_there(login: Sshd, tmp_path: Path) -> None:
    with pytest.raises(SshError, match=r"cannot be opened there.*is the agent running"):  # noqa: SIM117
        with forward(login.target, str(tmp_path / "none.sock")):
            pytest.fail("reached nobody")


def test_paramiko_writes_nothing_of_its_own_to_the_terminal() -> None:
    """Without any handler, logging prints warnings on stderr as a last resort."""
    kinds = {type(handler) for handler in logging.getLogger("paramiko").handlers}
    assert logging.NullHandler in kinds


@pytest.mark.privileged
def test_an_agent_that_ends_meanwhile(login: Sshd, tmp_path: Path) -> None:
    with serving(tmp_path) as running, forward(login.target, running.socket) as path:
        assert Client(path).status().node == "lb1"
        Path(running.socket).unlink()
        with pytest.raises(UnreachableError):
            Client(path).status()


@pytest.mark.privileged
def test_through_a_jump_host(login: Sshd, served: Served) -> None:
    here = f"root@127.0.0.1:{login.port}"
    with forward(find_target(here, jump=here), served.socket) as path:
        assert Client(path).status().node == "lb1"


@pytest.mark.privileged
def test_a_jump_host_that_leads_nowhere(login: Sshd, served: Served) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = probe.getsockname()[1]
    jump = f"root@127.0.0.1:{login.port}"
    target = find_target(f"root@127.0.0.1:{closed}", jump=jump)
    with pytest.raises(SshError, match=f"127.0.0.1 does not lead to 127.0.0.1:{closed}"):  # noqa: SIM117
        with forward(target, served.socket):
            pytest.fail("went nowhere")


@pytest.mark.privileged
def test_a_key_file_that_is_named(login: Sshd, served: Served) -> None:
    key = login.home / ".ssh/id_ed25519"
    elsewhere = key.rename(login.home / "work-key")
    try:
        target = find_target(f"root@127.0.0.1:{login.port}", keys=(str(elsewhere),))
        with forward(target, served.socket) as path:
            assert Client(path).status().node == "lb1"
    finally:
        elsewhere.rename(key)


def test_what_is_left_out_is_as_the_ssh_configuration_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / "key").touch()
    (tmp_path / ".ssh/config").write_text(
        f"Host lb1\n  HostName 192.0.2.1\n  User ops\n  Port 2222\n  IdentityFile {tmp_path}/key\n"
        "  IdentityFile ~/none\n  ProxyJump me@bastion\nHost many\n  ProxyJump a,b\n"
    )
    jump = Target("me", "bastion", 22)
    assert find_target("lb1") == Target("ops", "192.0.2.1", 2222, (f"{tmp_path}/key",), jump)
    assert find_target("root@lb1:22", jump="x@y").jump == Target("x", "y", 22)
    with pytest.raises(ValueError, match="more than one jump host"):
        find_target("many")


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(SshError, match=f"^127.0.0.1:{port}: Connection refused$"):  # noqa: SIM117
        with forward(Target("root", "127.0.0.1", port), "/x"):
            pytest.fail("reached nobody")
