"""Working on nodes through a real sshd: what goes wrong has a name, and nothing is done twice."""

import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from haman.api.client import UnreachableError
from haman.api.ssh import Identity
from haman.lab.kernel import wait_until
from haman.playbook import shell
from haman.playbook.commands import Commands
from haman.playbook.facts import Act, Outcome
from haman.playbook.hosts import CutError, Host, HostError
from haman.playbook.model import Run, Step, Upload
from haman.playbook.script import Task, task_of
from haman.playbook.ssh import OUTPUT_CHARS_MAX, Access, SshHosts, resolve
from haman.playbook.work import OnNode
from tests.api.serving import serving
from tests.sshd import Sshd, running_sshd

PREPARE = """
mount --make-rprivate /
mount -t tmpfs -o mode=755 mnt /mnt
cp {folder}/home/.ssh/id_ed25519.pub /mnt/authorized_keys
mkdir -p -m 777 /mnt/small
mount -t tmpfs -o size=64k,mode=777 small /mnt/small
for f in passwd shadow; do cp /etc/$f /mnt/$f; done
for u in asked trusted; do
    echo "$u:x:5432$(expr length $u):100::/mnt:/bin/sh" >>/mnt/passwd
    echo "$u:*:19000:0:99999:7:::" >>/mnt/shadow
done
for f in passwd shadow; do mount --bind /mnt/$f /etc/$f; done
if [ -d /etc/sudoers.d ]; then
    mount -t tmpfs -o mode=755 sudoers /etc/sudoers.d
    echo 'trusted ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/trusted
fi
"""
"""In a mount namespace of its own: a small disk, and two users of whom one may use sudo."""

pytestmark = [pytest.mark.privileged, pytest.mark.real("sshd")]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    folder = tmp_path_factory.mktemp("sshd")
    with running_sshd(folder, passwords=True, prepare=PREPARE.format(folder=folder)) as running:
        yield running


@pytest.fixture
def login(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Sshd:
    monkeypatch.setenv("HOME", str(sshd.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    sshd.trust(sshd.host_key)
    return sshd


@pytest.fixture
def hosts(login: Sshd) -> Iterator[SshHosts]:
    with reached(login) as found:
        yield found


class reached:  # noqa: N801 - reads as a verb
    """The sshd as node lb1; closed in the end."""

    def __init__(self, sshd: Sshd, user: str = "root", **access: object) -> None:
        host = Host("lb1", "127.0.0.1", user, sshd.port)
        self.hosts = SshHosts({"lb1": host}, replace(Access(), **access))  # type: ignore[arg-type]

    def __enter__(self) -> SshHosts:
        return self.hosts

    def __exit__(self, *_: object) -> None:
        self.hosts.close()


def test_a_command_its_input_its_output_and_its_status(hosts: SshHosts) -> None:
    lines: list[str] = []
    done = hosts.run("lb1", "cat; echo two >&2; exit 3", 10, given=b"one\n", tell=lines.append)
    assert (done.status, done.output) == (3, "one\ntwo\n")
    assert lines == ["one", "two"]
    assert done.last_line == "two"


def test_output_is_bounded(hosts: SshHosts) -> None:
    done = hosts.run("lb1", "seq 200000; echo end", 20)
    assert len(done.output) == OUTPUT_CHARS_MAX
    assert done.last_line == "end"
    with pytest.raises(HostError, match="more than 1000 bytes"):
        hosts.fetch("lb1", "seq 2000", 10, 1000)


def test_unreachable(login: Sshd) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = replace(login, port=probe.getsockname()[1])
    with reached(closed) as hosts, pytest.raises(HostError, match=r"lb1: .*Connection refused"):
        hosts.run("lb1", "true", 5)


def test_a_changed_host_key(login: Sshd) -> None:
    login.trust((login.home.parent / "other.pub").read_text().strip())
    with reached(login) as hosts, pytest.raises(HostError, match="its host key has changed"):
        hosts.run("lb1", "true", 5)


def test_an_unknown_host_key(login: Sshd) -> None:
    (login.home / ".ssh/known_hosts").write_text("")
    with reached(login) as hosts, pytest.raises(HostError, match="unknown host keys are refused"):
        hosts.run("lb1", "true", 5)


def test_known_hosts_and_keys_of_ones_own(
    login: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = tmp_path / "known"
    known.write_text(f"[127.0.0.1]:{login.port} {login.host_key}\n")
    key = shutil.copy(login.home / ".ssh/id_ed25519", tmp_path / "key")
    monkeypatch.setenv("HOME", str(tmp_path))
    with reached(login, identity=Identity((str(key),), None, (str(known),))) as hosts:
        assert hosts.run("lb1", "echo here", 5).output == "here\n"


@pytest.mark.parametrize("password", [None, "wrong"])
def test_no_key_and_no_password_that_is_accepted(
    login: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str | None
) -> None:
    (tmp_path / ".ssh").mkdir()
    shutil.copy(login.home / ".ssh/known_hosts", tmp_path / ".ssh")
    monkeypatch.setenv("HOME", str(tmp_path))
    said = (
        r"no key was accepted|No authentication methods" if password is None else "nor the password"
    )
    with (
        reached(login, identity=Identity((), password)) as hosts,
        pytest.raises(HostError, match=said),
    ):
        hosts.run("lb1", "true", 5)


@pytest.mark.skipif(not shutil.which("sudo"), reason="needs sudo")
def test_sudo(login: Sshd) -> None:
    with reached(login, "trusted", sudo=True) as hosts:
        assert hosts.run("lb1", "id -u", 10).output == "0\n"
    said = "sudo asks for a password; allow it without"
    with reached(login, "asked", sudo=True) as hosts, pytest.raises(HostError, match=said):
        hosts.run("lb1", "id -u", 10)


def test_through_another_host(login: Sshd) -> None:
    with reached(login, jump=f"root@127.0.0.1:{login.port}") as hosts:
        assert hosts.run("lb1", "echo $SSH_CONNECTION", 5).output.startswith("127.0.0.1 ")
    with (
        reached(login, jump="root@127.0.0.1:1") as hosts,
        pytest.raises(HostError, match="refused"),
    ):
        hosts.run("lb1", "true", 5)


def test_what_the_ssh_configuration_says(login: Sshd) -> None:
    config = paramiko.SSHConfig.from_text(
        "Host lb1\n HostName 10.0.0.1\n User ops\n Port 2222\n IdentityFile /k\n ProxyJump gate\n"
    )
    target, keys, jump = resolve(Host("lb1", "10.9.9.9"), Access(), config)
    assert (target.user, target.host, target.port) == ("ops", "10.0.0.1", 2222)
    assert (keys, jump) == (("/k",), "gate")
    target, _, _ = resolve(Host("lb1", "10.9.9.9", "root", 22), Access(), config)
    assert (target.user, target.port) == ("root", 22)
    target, _, jump = resolve(Host("lb2", "fd00::2"), Access(user="me"), config)
    assert (target.user, target.host, target.port, jump) == ("me", "fd00::2", 22, "")
    del login


def test_the_agent_of_a_node_is_asked_over_the_same_connection(login: Sshd, tmp_path: Path) -> None:
    # What served the connections of other tests takes a moment to end.
    assert wait_until(lambda: not login.sessions(), 10)
    with serving(tmp_path) as served, reached(login, socket=served.socket) as hosts:
        assert hosts.agent("lb1").status().node == "lb1"
        hosts.run("lb1", "true", 5)
        assert [hosts.agent("lb1").status().cluster for _ in range(20)] == ["edge"] * 20
        assert len(login.sessions()) == 1
    nobody, said = str(tmp_path / "none"), "is the agent running"
    with reached(login, socket=nobody) as hosts, pytest.raises(UnreachableError, match=said):
        hosts.agent("lb1").status()


def test_an_address_is_tried_from_the_node(login: Sshd, hosts: SshHosts) -> None:
    assert hosts.probe("lb1", "127.0.0.1", login.port, 5) == ""
    assert hosts.probe("lb1", "127.0.0.1", 1, 5) == "Connect failed"


# What must not happen twice.


def commands(hosts: SshHosts, folder: Path) -> Commands:
    return Commands(hosts, shell.Place(str(folder / "state"), "run"), shell.Place("/x", "run"))


def task(step: Step, timeout_s: float = 10) -> Task:
    return replace(task_of(step, "lb1/1", "lb1", "stop"), timeout_s=timeout_s)  # type: ignore[arg-type]


def test_a_command_that_hangs_is_ended(hosts: SshHosts, tmp_path: Path) -> None:
    told = commands(hosts, tmp_path).once(task(Run(command=""), 0.5), 1, "sleep 60")
    assert (told.outcome, told.text) == (
        Outcome.FAILED,
        "did not end within 0.5 s, and was killed",
    )
    with pytest.raises(CutError, match=r"nothing came of it within 0\.5 s"):
        hosts.run("lb1", "sleep 60", 0.5)


def test_a_connection_that_is_cut_in_the_middle(
    login: Sshd, hosts: SshHosts, tmp_path: Path
) -> None:
    """The command goes on; its end is found again, over a new connection."""
    begun, cut_off, ended = (tmp_path / name for name in ("begun", "cut", "ended"))
    waits = f"until [ -e {cut_off} ]; do sleep 0.05; done"
    command = f"echo x >>{begun}; {waits}; echo said; echo x >>{ended}"

    def cut() -> None:
        deadline = time.monotonic() + 10
        while not begun.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        for session in login.sessions():
            os.kill(session, signal.SIGKILL)
        cut_off.touch()

    cutter = threading.Thread(target=cut)
    cutter.start()
    told = commands(hosts, tmp_path).once(task(Run(command=command), 20), 1, command)
    cutter.join()
    assert told.outcome is Outcome.DONE
    assert "the connection was cut meanwhile" in told.text
    assert begun.read_text() == ended.read_text() == "x\n"


def test_what_was_begun_before_is_found_and_what_was_not_is_done(
    hosts: SshHosts, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    command = f"echo x >>{count}"
    at_work = commands(hosts, tmp_path)
    told = at_work.once(task(Run(command=command)), 1, command, settles=True)
    assert told.outcome is Outcome.DONE
    told = at_work.once(task(Run(command=command)), 1, command, settles=True)
    assert told.outcome is Outcome.DONE
    assert count.read_text() == "x\n"


def upload(hosts: SshHosts, folder: Path, source: Path, to: str, **more: str) -> str:
    at_work = OnNode(commands(hosts, folder), {"": {}, "lb1": {"node": "lb1"}})
    work = Upload(source=str(source), to=to, **more)  # type: ignore[arg-type]
    told = at_work.do(Act(task(work), 1), work, lambda _: None)
    return told.text if told.outcome is Outcome.FAILED else ""


def test_an_upload(hosts: SshHosts, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3_000_000))
    assert upload(hosts, tmp_path, source, f"{tmp_path}/target", mode="0600") == ""
    assert (tmp_path / "target").read_bytes() == source.read_bytes()
    assert (tmp_path / "target").stat().st_mode & 0o777 == 0o600


def test_a_full_disk_leaves_what_was_there(hosts: SshHosts, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 200_000)
    hosts.run("lb1", "echo old >/mnt/small/x.cfg", 5)
    assert "No space left on device" in upload(hosts, tmp_path, source, "/mnt/small/x.cfg")
    assert hosts.run("lb1", "ls -A /mnt/small; cat /mnt/small/x.cfg", 5).output == "x.cfg\nold\n"


def test_a_source_that_is_not_there(hosts: SshHosts, tmp_path: Path) -> None:
    assert "cannot be read" in upload(hosts, tmp_path, tmp_path / "none", "/mnt/x")
