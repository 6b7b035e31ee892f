"""What stands beside haman on the anycast lab: what it is told, and that it works there."""

import argparse
import importlib
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from haman.cli.lab import make_cluster_key
from haman.config.exabgp import exabgp_environment
from haman.config.model import Config
from haman.lab import anycast_peers as peers
from haman.lab import faults, lab, run
from haman.lab.anycast_bench import DRAINED, NODE, TRIALS
from haman.lab.contenders import PROCESSES
from haman.lab.kernel import processes_beside, wait_until
from haman.lab.routers import prepare
from haman.lab.runtime import LabError, Runtime
from haman.lab.services import CONFIGURATION, configurations
from haman.lab.topology import Topology, read_topology
from tests.lab.labs import SHIPPED, announcing, quiet

OTHERS = ("lb2", "lb3")
DEADLINE_S = 30.0


@pytest.fixture
def topology(tmp_path: Path) -> Topology:
    (tmp_path / ".git").mkdir()
    shutil.copytree(SHIPPED, tmp_path / "lab")
    return read_topology(tmp_path / "lab" / "anycast.clab.yml")


@pytest.fixture
def config(topology: Topology) -> Config:
    return configurations(topology)[0].config


def bound(topology: Topology, node: str, target: str) -> str:
    """The text of what a node sees at `target`."""
    found = topology.node(node)
    assert found is not None
    (bind,) = (bind for bind in found.binds if bind.target == target)
    return bind.source.read_text()


def routed(topology: Topology) -> str:
    return bound(topology, "router", "/etc/frr/frr.conf")


# ---- what they are told ----------------------------------------------------------------------------


def test_without_bfd_neither_nodes_nor_router_speak_it(topology: Topology) -> None:
    bare = peers.without_bfd(topology)
    prepare(bare)
    texts = [bound(bare, f"lb{number}", CONFIGURATION) for number in (1, 2, 3)]
    assert not any("bfd" in text for text in texts)
    assert " bfd profile" not in routed(bare)
    prepare(topology)
    assert routed(topology).count(" bfd profile") == 6


def test_a_node_that_has_no_bfd_anyway_is_told(topology: Topology) -> None:
    with pytest.raises(LabError, match="has no line `bfd"):
        peers.without_bfd(peers.without_bfd(topology))


def test_haman_is_left_as_it_is(topology: Topology) -> None:
    prepared, services = peers.prepare(topology, peers.HAMAN)
    assert prepared == topology
    assert services.routers == ("router",)


@pytest.mark.parametrize("announcer", peers.PEERS, ids=lambda a: a.name)
def test_a_peer_stands_in_hamans_place_and_serves_the_same(topology: Topology, announcer) -> None:
    _, own = peers.prepare(topology, peers.HAMAN)
    prepared, services = peers.prepare(topology, announcer, bfd=announcer.bfd)
    assert services.anycasts == own.anycasts
    assert services.next_hops == own.next_hops
    for number in (1, 2, 3):
        node = prepared.node(f"lb{number}")
        assert node is not None
        assert CONFIGURATION not in {bind.target for bind in node.binds}
        assert "haman" not in bound(prepared, node.name, PROCESSES).replace("haman's place", "")
        assert ("ip", "address", "add", "192.0.2.100/32", "dev", "lo") in node.exec
        assert len({bind.target for bind in node.binds}) == len(node.binds)
    assert (" bfd profile" in routed(prepared)) == announcer.bfd


def test_the_floor_can_be_left_out_and_only_that(topology: Topology) -> None:
    with_floor, _ = peers.prepare(topology, peers.EXABGP, bfd=False)
    before = routed(with_floor).splitlines()
    without, _ = peers.prepare(topology, peers.EXABGP, bfd=False, floor=False)
    gone = [line for line in before if line not in routed(without).splitlines()]
    assert len(gone) == 6
    assert all(line.endswith(" 250") for line in gone)


def test_a_node_may_have_a_check_of_its_own(topology: Topology) -> None:
    prepared, _ = peers.prepare(topology, peers.EXABGP, bfd=False, commands={"lb1": "a", "lb2": ""})
    texts = [bound(prepared, f"lb{number}", peers.HEALTHCHECK_CONF) for number in (1, 2, 3)]
    assert "command = a\n" in texts[0]
    assert "command" not in texts[1]
    assert "command = pgrep -x haproxy\n" in texts[2]


def test_exabgps_healthcheck_is_told_how_often_and_how_many(config: Config) -> None:
    swift = peers.healthcheck_conf(config, peers.SWIFT).splitlines()
    assert {"interval = 1", "fall = 1", "rise = 1", "withdraw-on-down"} <= set(swift)
    assert {"ip = 192.0.2.100/32", "ip = 2001:db8::100/128"} <= set(swift)
    slow = peers.healthcheck_conf(config, peers.DEFAULTS).splitlines()
    assert {"interval = 5", "fast-interval = 1", "fall = 3", "rise = 3"} <= set(slow)


def test_the_defaults_are_exabgps_own() -> None:
    parser = argparse.ArgumentParser()
    importlib.import_module("exabgp.application.healthcheck").setargs(parser)
    told = parser.parse_args([])
    own = peers.DEFAULTS
    assert (told.interval, told.fast) == (own.interval_s, own.fast_s)
    assert (told.rise, told.fall) == (own.rise, own.fall)


def test_exabgp_takes_its_configuration(config: Config, tmp_path: Path) -> None:
    path = tmp_path / "exabgp.conf"
    path.write_text(peers.exabgp_conf(config))
    words = [sys.executable, "-m", "exabgp", "validate", str(path)]
    environment = {"PATH": "/usr/bin:/bin", **exabgp_environment("root")}
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.real("bird")
def test_bird_takes_its_configuration(config: Config, topology: Topology, tmp_path: Path) -> None:
    path = tmp_path / "bird.conf"
    text = peers.bird_conf(config)
    assert text.count("min rx interval 50 ms;") == text.count("hold time 9;") == 2
    path.write_text(text)
    done = subprocess.run(["bird", "-p", "-c", path], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    bare = configurations(peers.without_bfd(topology))[0].config
    assert "bfd" not in peers.bird_conf(bare)


@pytest.mark.parametrize("write", [peers.exabgp_conf, peers.bird_conf], ids=["exabgp", "bird"])
def test_a_node_that_announces_nothing_is_told(config: Config, write) -> None:
    with pytest.raises(LabError, match="announces nothing"):
        write(msgspec.structs.replace(config, bgp=None))


def test_bird_that_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bird.ctl"
    monkeypatch.setattr(Runtime, "path", lambda *_: path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def refuse() -> None:
            asked, _ = listening.accept()
            with asked, asked.makefile("rw") as lines:
                lines.write("0001 BIRD ready.\n")
                lines.flush()
                lines.readline()
                lines.write("8003 No protocols match\n")

        refusing = threading.Thread(target=refuse)
        refusing.start()
        with pytest.raises(LabError, match=r"lb1: BIRD does not disable .* 8003 No protocols"):
            peers.BIRD.release(Runtime.__new__(Runtime), "lb1")
        refusing.join()


# ---- that it works ---------------------------------------------------------------------------------


@contextmanager
def up(tree: Path, announcer: peers.Announcer) -> Iterator[lab.Lab]:
    path = announcing(tree)
    topology = read_topology(path)
    prepared, services = peers.prepare(topology, announcer, bfd=announcer.bfd)
    try:
        yield lab.bring_up(prepared, make_cluster_key, services=services, say=quiet)
    finally:
        lab.down(path)


@pytest.mark.privileged
@pytest.mark.real("haproxy")
@pytest.mark.real("vtysh")
@pytest.mark.real("bird")
@pytest.mark.parametrize("announcer", peers.PEERS, ids=lambda a: a.name)
def test_a_peer_lets_go_of_a_dead_proxy_and_at_its_operators_word(
    tmp_path: Path, announcer
) -> None:
    drained = next(t for t in TRIALS if t.name == DRAINED).step(announcer, 0.0)
    killed = TRIALS[0].step(announcer, 0.0)
    with up(tmp_path / "tree", announcer) as running:
        names = [name for _, name in processes_beside(running.runtime.pids[NODE])]
        assert names.count(announcer.main) == 1
        for step in (killed, drained):
            faults.inflict(running.runtime, step)
            assert wait_until(lambda: running.announcers()["edge"] == {OTHERS}, DEADLINE_S)
            run.recover(running)
