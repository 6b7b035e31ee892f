"""Playbooks on the pair: the VIP moves once away and once back, and its clients go on."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from haman.lab import lab
from haman.lab.probe import failures
from tests.playbook.labs import (
    RESTART,
    SHIPPED,
    Guests,
    asking,
    brought_up,
    playbook,
    proxy_pid,
    quick,
)

pytestmark = [
    pytest.mark.privileged,
    pytest.mark.real("haproxy"),
    pytest.mark.real("sshd"),
    pytest.mark.skipif(not shutil.which("/usr/sbin/sshd"), reason="needs openssh-server"),
]

NODES = {"lb1": "10.77.0.11", "lb2": "10.77.0.12"}
MOVE_FAILURES = 60
"""New connections that a move may cost on a busy machine, at 200 per second; as in the shipped drills."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lab.Lab]:
    with brought_up(tmp_path_factory.mktemp("playbooks") / "tree", "pair") as running:
        yield running


def test_rolling_restart_under_load(pair: lab.Lab, tmp_path: Path) -> None:
    before = {node: proxy_pid(pair, node) for node in NODES}
    with Guests(pair, NODES) as guests, asking(pair, "10.77.0.100", 100) as seen:
        done = playbook(pair, tmp_path, "run", quick(tmp_path, "rolling-restart"), "--set", RESTART)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(proxy_pid(pair, node) != pid for node, pid in before.items())
    assert guests.left == set(NODES)
    assert guests.lost == []
    # The node that holds the VIP comes last.
    ended = [line.split()[1] for line in done.stdout.splitlines() if "serves again, and" in line]
    assert ended == ["lb2", "lb1"]
    assert sum(failures(seen[0].attempts).values()) <= MOVE_FAILURES
    pair.wait_until_settled()


VERSION = (
    "--set",
    "version=cat /run/version 2>/dev/null || echo 1",
    "--set",
    RESTART.replace("command", "restart"),
)
UPGRADE = "echo 2 > /run/version"
DOWNGRADE = ("--set", "downgrade=rm -f /run/version", "--set", "canary_soak_s=0")


def versions(pair: lab.Lab) -> dict[str, str]:
    words = ["sh", "-c", "cat /run/version 2>/dev/null || echo 1"]
    return {node: pair.runtime.exec(node, words).stdout.strip() for node in NODES}


def test_an_upgrade_that_fails_on_the_second_node_is_taken_back_on_both(
    pair: lab.Lab, tmp_path: Path
) -> None:
    """First it works on both; then it breaks where the VIP is, which comes last."""
    upgrade = quick(tmp_path, "rolling-upgrade")
    fails = f"upgrade=ip -4 address show | grep -q {NODES['lb1']}/ && exit 1; {UPGRADE}"
    done = playbook(pair, tmp_path, "run", upgrade, "--set", fails, *VERSION, *DOWNGRADE)
    assert done.returncode == 1, done.stdout + done.stderr
    assert versions(pair) == {"lb1": "1", "lb2": "1"}
    pair.wait_until_settled()
    with asking(pair, "10.77.0.100", 100) as seen:
        words = ("--set", f"upgrade={UPGRADE}", *VERSION, *DOWNGRADE)
        done = playbook(pair, tmp_path, "run", upgrade, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert versions(pair) == {"lb1": "2", "lb2": "2"}
    assert sum(failures(seen[0].attempts).values()) <= MOVE_FAILURES
    pair.wait_until_settled()


def agents(pair: lab.Lab) -> dict[str, str]:
    words = ["pgrep", "-o", "-f", "haman agent -c"]
    return {node: pair.runtime.exec(node, words).stdout.strip() for node in NODES}


def test_haman_itself_is_upgraded_while_clients_go_on(pair: lab.Lab, tmp_path: Path) -> None:
    restart = ("--set", "restart=/etc/lab/service.sh restart haman", "--set", "canary_soak_s=0")
    upgrade = quick(tmp_path, "rolling-upgrade-haman")
    before = agents(pair)
    with Guests(pair, {"lb1": "10.77.0.100"}) as guests, asking(pair, "10.77.0.100", 100) as seen:
        done = playbook(pair, tmp_path, "run", upgrade, "--set", "upgrade=true", *restart)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(agents(pair)[node] != pid for node, pid in before.items())
    assert guests.lost == []
    assert sum(failures(seen[0].attempts).values()) <= MOVE_FAILURES
    pair.wait_until_settled()


def test_a_drill_in_production_moves_measures_and_moves_back(pair: lab.Lab, tmp_path: Path) -> None:
    words = ("--set", "vip=web", "--set", "address=10.77.0.100", "--set", "seconds=2", "--yes")
    done = playbook(pair, tmp_path, "run", quick(tmp_path, "failover-drill"), *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "web moved from lb1 to lb2" in done.stdout
    assert "web moved from lb2 to lb1" in done.stdout
    assert "longest time without one that was served" in done.stdout
    pair.wait_until_settled()


def test_without_consent_nothing_is_moved(pair: lab.Lab, tmp_path: Path) -> None:
    words = ("--set", "vip=web", "--set", "address=10.77.0.100")
    done = playbook(pair, tmp_path, "run", "failover-drill", *words)
    assert done.returncode == 1
    assert "nobody said yes" in done.stderr
    assert pair.holders() == {"web": ("lb1",)}


def test_ticket_keys_are_shared_and_rotated(pair: lab.Lab, tmp_path: Path) -> None:
    """The first keys, a configuration that names them, then a rotation with its proofs."""
    reload = ("--set", "reload=/etc/lab/service.sh reload haproxy")
    first = ("--set", "first=true", "--set", "prove=false", "--set", "reload=true")
    rotate = quick(tmp_path, "rotate-ticket-keys")
    done = playbook(pair, tmp_path, "run", rotate, *first)
    assert done.returncode == 0, done.stdout + done.stderr
    before = keys(pair)
    config = tmp_path / "haproxy.cfg"
    tls = "crt /etc/haproxy/tls.pem"
    text = (SHIPPED / "nodes/haproxy.cfg").read_text()
    config.write_text(text.replace(tls, f"{tls} tls-ticket-keys /etc/haproxy/tickets.keys"))
    source = ("--set", f"source={config}", "--set", "canary_soak_s=0")
    done = playbook(pair, tmp_path, "run", quick(tmp_path, "push-config"), *source, *reload)
    assert done.returncode == 0, done.stdout + done.stderr
    done = playbook(pair, tmp_path, "run", rotate, *reload)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("tickets are shared") >= 4  # before, on each node, after
    after = keys(pair)
    assert after["lb1"] == after["lb2"]
    # The second key, which new sessions are made with, was on every node already.
    assert after["lb1"][:2] == before["lb1"][1:]
    assert after["lb1"][2] not in before["lb1"]
    assert not list((tmp_path / "runs/here").iterdir())
    pair.wait_until_settled()


def keys(pair: lab.Lab) -> dict[str, list[str]]:
    path = "/etc/haproxy/tickets.keys"
    return {node: pair.runtime.exec(node, ["cat", path]).stdout.split() for node in NODES}
