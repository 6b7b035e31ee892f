"""Playbooks on the anycast lab: real sshd, HAProxy, FRR, agents and clients."""

import json
import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from haman.lab import agent, kernel, lab
from haman.lab.probe import failures
from tests.playbook.labs import RESTART, Guests, asking, brought_up, playbook, proxy_pid, quick

pytestmark = [
    pytest.mark.privileged,
    pytest.mark.real("haproxy"),
    pytest.mark.real("vtysh"),
    pytest.mark.real("sshd"),
    pytest.mark.skipif(not shutil.which("/usr/sbin/sshd"), reason="needs openssh-server"),
]

NODES = {"lb1": "10.77.0.11", "lb2": "10.77.0.12", "lb3": "10.77.0.13"}
HASH_MOVES = 12
"""Times that the router's hash moves while three nodes leave and come back over two weights: each may reset
a connection that is half open at that moment. A proxy restarted under load refuses them for 100 ms."""


@pytest.fixture(scope="module")
def anycast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lab.Lab]:
    with brought_up(tmp_path_factory.mktemp("playbooks") / "tree", "anycast") as running:
        yield running


def test_rolling_restart_under_load(anycast: lab.Lab, tmp_path: Path) -> None:
    before = {node: proxy_pid(anycast, node) for node in NODES}
    report = tmp_path / "report.json"
    with Guests(anycast, NODES) as guests, asking(anycast, "192.0.2.100", 100) as seen:
        done = playbook(
            anycast,
            tmp_path,
            *("run", quick(tmp_path, "rolling-restart"), "--set", RESTART, "--report", str(report)),
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(proxy_pid(anycast, node) != pid for node, pid in before.items())
    assert guests.left == set(NODES)
    assert guests.lost == []
    failed = failures(seen[0].attempts)
    assert len(seen[0].attempts) > 1000
    assert set(failed) <= {"reset"}, failed
    assert sum(failed.values()) <= HASH_MOVES
    told = json.loads(report.read_text())
    assert told["verdict"] == "done"
    assert [t["node"] for t in told["tasks"] if t["key"].endswith("/soak")] == list(NODES)
    anycast.wait_until_settled()


def test_a_bad_configuration_changes_nothing(anycast: lab.Lab, tmp_path: Path) -> None:
    bad = tmp_path / "haproxy.cfg"
    bad.write_text("global\n  bogus\n")
    reload = "reload=/etc/lab/service.sh reload haproxy"
    before = {node: configuration(anycast, node) for node in NODES}
    done = playbook(
        anycast,
        tmp_path,
        *("run", "push-config", "--set", f"source={bad}", "--set", reload),
    )
    assert done.returncode == 1
    assert "unknown keyword 'bogus'" in done.stderr
    assert {node: configuration(anycast, node) for node in NODES} == before
    assert locks(anycast) == []
    anycast.wait_until_settled()


def configuration(running: lab.Lab, node: str) -> str:
    return running.runtime.exec(
        node, ["sh", "-c", "ls -A /etc/haproxy; cat /etc/haproxy/*.cfg"]
    ).stdout


def locks(running: lab.Lab) -> list[str]:
    look = ["sh", "-c", "cat /var/lib/haman/playbook/lock 2>/dev/null"]
    return [node for node in NODES if running.runtime.exec(node, look).stdout]


def test_a_proxy_that_does_not_come_back_ends_the_run_at_its_node(
    anycast: lab.Lab, tmp_path: Path
) -> None:
    """The first node loses its proxy: the others are not touched, and clients are served by them."""
    kill = "command=kill $(cat /run/haproxy/haproxy.pid); sleep 0.5"
    text = Path(quick(tmp_path, "rolling-restart"))
    text.write_text(text.read_text().replace("proxy_up = true", "proxy_up = true\ntimeout_s = 1"))
    text.write_text(text.read_text().replace("soak_s = 0.5", "soak_s = 0.5\ncome_back_s = 2"))
    text.write_text(text.read_text().replace("serving = true", "serving = true\ntimeout_s = 2"))
    others = {node: proxy_pid(anycast, node) for node in ("lb2", "lb3")}
    done = playbook(anycast, tmp_path, "run", str(text), "--set", kill)
    try:
        assert done.returncode == 1
        assert "wait for the proxy to be up: its proxy is down" in done.stderr
        assert "haman playbook resume rolling-restart-" in done.stderr
        assert {node: proxy_pid(anycast, node) for node in others} == others
        assert agent.stance(anycast.runtime, "lb2", "edge") == "full"
        # The node is half done: nobody else may begin before this run is ended or given up.
        again = playbook(anycast, tmp_path, "run", str(text), "--set", RESTART)
        assert again.returncode == 1
        assert "has the cluster" in again.stderr
    finally:
        run = done.stderr.partition("playbook resume ")[2].split()[0]
        given_up = playbook(anycast, tmp_path, "resume", run, "--abandon")
        anycast.runtime.exec("lb1", ["sh", "/etc/lab/service.sh", "restart", "haproxy"])
        anycast.wait_until_settled()
    assert given_up.returncode == 0
    assert locks(anycast) == []


def test_a_runner_that_is_killed_is_taken_up_where_it_was(anycast: lab.Lab, tmp_path: Path) -> None:
    """SIGKILL in the middle of a restart: the node ends it by itself, and it is not done again."""
    count, go = "/var/lib/haman/restarts", "/var/lib/haman/restart-now"
    waits = f"until [ -e {go} ]; do sleep 0.1; done"
    slow = f"command=echo x >>{count}; {waits}; /etc/lab/service.sh restart haproxy"
    text = quick(tmp_path, "rolling-restart")
    words = ["haman", "playbook", "run", text, "--node", "lb2", "--set", slow]
    words += ["--ssh", "root@10.77.0.11", "-i", "/etc/lab/ssh/client_key"]
    words += ["--journal", str(tmp_path / "runs")]
    inside = anycast.runtime.spawn("client", words, stdout=subprocess.DEVNULL)
    begun = ["test", "-e", count]
    try:
        assert kernel.wait_until(
            lambda: anycast.runtime.exec("lb2", begun).returncode == 0, 30, poll_s=0.1
        )
        for process in kernel.children(inside.pid):
            os.kill(process, signal.SIGKILL)
    finally:
        inside.wait(30)
        anycast.runtime.exec("lb2", ["touch", go])
    (path,) = (tmp_path / "runs").glob("*.jsonl")
    assert agent.drained(anycast.runtime, "lb2")
    done = playbook(anycast, tmp_path, "resume", path.stem)
    assert done.returncode == 0, done.stdout + done.stderr
    assert anycast.runtime.exec("lb2", ["cat", count]).stdout == "x\n"
    assert "drain" not in done.stdout.replace("undrain", "")
    assert locks(anycast) == []
    anycast.wait_until_settled()


def test_a_bundle_for_support_has_no_secrets(anycast: lab.Lab, tmp_path: Path) -> None:
    secret = "insecure-password hunter2"
    command = f"printf 'userlist u\\n user a {secret}\\n' >>/etc/haproxy/haproxy.cfg"
    anycast.runtime.exec("lb1", ["sh", "-c", command])
    done = playbook(
        anycast, tmp_path, "run", "collect-support", "--set", f"to={tmp_path / 'support'}"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    key = anycast.runtime.exec("lb1", ["cat", "/etc/haman/cluster.key"]).stdout.split()[-1]
    for node in NODES:
        with tarfile.open(tmp_path / f"support/{node}.tar.gz") as bundle:
            files = {m.name: bundle.extractfile(m) for m in bundle.getmembers() if m.isfile()}
            texts = {name: f.read().decode(errors="replace") for name, f in files.items() if f}
        assert f'"name":"{node}"' in texts[f"{node}/haman-status--json.txt"].replace(" ", "")
        assert "frontend web" in texts[f"{node}/haproxy.cfg"]
        for text in texts.values():
            assert "hunter2" not in text
            assert key not in text
            assert "PRIVATE KEY" not in text


def test_the_check_connects_verifies_and_changes_nothing(anycast: lab.Lab, tmp_path: Path) -> None:
    words = ("run", "rolling-restart", "--set", RESTART, "--check")
    done = playbook(anycast, tmp_path, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing was changed" in done.stdout
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").glob("*.jsonl"))
    assert not any(agent.drained(anycast.runtime, node) for node in NODES)
