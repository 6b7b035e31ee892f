"""A whole site is evacuated and restored on the edge lab: two routers, five nodes, real sshd and clients."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from haman.lab import agent, lab
from haman.lab.probe import failures
from tests.lab.adversity import eventually
from tests.playbook.labs import asking, brought_up, playbook, quick

pytestmark = [
    pytest.mark.privileged,
    pytest.mark.real("haproxy"),
    pytest.mark.real("vtysh"),
    pytest.mark.real("sshd"),
    pytest.mark.skipif(not shutil.which("/usr/sbin/sshd"), reason="needs openssh-server"),
]

ASK = "root@10.81.0.11"
SITE = ("a1", "a2")
OTHERS = ("b1", "b2", "b3")
HASH_MOVES = 12
"""As on the anycast lab: resets of connections that are half open while the routers' hash moves."""


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lab.Lab]:
    with brought_up(tmp_path_factory.mktemp("playbooks") / "tree", "edge") as running:
        yield running


def route(running: lab.Lab, router: str) -> str:
    return running.runtime.exec(router, ["ip", "route", "show", "192.0.2.100"]).stdout


def drained(running: lab.Lab) -> list[str]:
    return [node for node in (*SITE, *OTHERS) if agent.drained(running.runtime, node)]


def run(running: lab.Lab, folder: Path, name: str, *words: str) -> tuple[int, str, str]:
    text = quick(folder, name)
    done = playbook(running, folder, "run", text, "--set", "site=a", "--yes", *words, ssh=ASK)
    return done.returncode, done.stdout, done.stderr


def test_a_site_whose_own_vip_cannot_leave_is_refused_before_anything_is_done(
    edge: lab.Lab, tmp_path: Path
) -> None:
    status, _, told = run(edge, tmp_path, "evacuate-site")
    assert status == 1
    assert "if a1 and a2 are lost, no other node can serve web-a" in told
    assert drained(edge) == []


def test_forced_all_leaves_but_that_vip_and_clients_are_carried_to_the_other_site(
    edge: lab.Lab, tmp_path: Path
) -> None:
    stays = "will go on to serve web-a as the last resort: no other node has it"
    status, checked, _ = run(edge, tmp_path, "evacuate-site", "--force", "--check")
    assert status == 0
    assert stays in checked
    assert drained(edge) == []

    with asking(edge, "192.0.2.100", 100) as service, asking(edge, "10.81.0.100", 100) as vip:
        status, said, why = run(edge, tmp_path, "evacuate-site", "--force")
        told = said + why
        assert status == 0, told
        assert told.index(f"a1 {stays}") < told.index("drain, until")  # before anything was done
        assert "a1 goes on to serve web-a as the last resort: no node that is left has it" in told
        assert drained(edge) == list(SITE)
        assert "via 10.80.0.2" in route(edge, "ra")  # what comes to the evacuated site goes on

        status, said, why = run(edge, tmp_path, "restore-site")
        assert status == 0, said + why
        assert drained(edge) == []
        eventually(lambda: all(ip in route(edge, "ra") for ip in ("10.81.0.11", "10.81.0.12")))
    for seen in (service, vip):
        failed = failures(seen[0].attempts)
        assert len(seen[0].attempts) > 1000
        assert set(failed) <= {"reset"}, failed
        assert sum(failed.values()) <= HASH_MOVES
    edge.wait_until_settled()
