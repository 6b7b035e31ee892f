"""What a lab serves, read from its nodes' files, and what its router is told."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from haman.cli.root import cli
from haman.lab import lab, routers
from haman.lab.prober import node_of
from haman.lab.runtime import LabError
from haman.lab.services import services_of
from haman.lab.topology import Bind, Topology, read_topology
from tests.lab.labs import make_key

SHIPPED = Path(__file__).parents[2] / "lab"
NODES = ("lb1", "lb2", "lb3")


@pytest.fixture
def topology(tmp_path: Path) -> Topology:
    """The shipped anycast lab in a checkout of its own."""
    (tmp_path / ".git").mkdir()
    shutil.copytree(SHIPPED, tmp_path / "lab")
    return read_topology(tmp_path / "lab" / "anycast.clab.yml")


def test_the_anycast_lab_serves_one_prefix_set_from_three_nodes(topology: Topology) -> None:
    services = services_of(topology)
    (edge,) = services.anycasts
    assert edge.prefixes == ("192.0.2.100/32", "2001:db8::100/128")
    assert edge.address == "192.0.2.100"
    assert edge.nodes == NODES
    assert services.routers == ("router",)
    assert services.next_hops["fd00:77::12"] == "lb2"
    assert services.vips == ()


def test_the_pair_has_no_router() -> None:
    services = services_of(read_topology(SHIPPED / "pair.clab.yml"))
    assert services.routers == ()
    assert [vip.nodes for vip in services.vips] == [("lb1", "lb2")]


def test_the_router_is_given_exactly_what_the_verb_prints(topology: Topology) -> None:
    lab.prepare_keys(topology.path, make_key)
    written = topology.path.parent.parent / ".lab" / "anycast" / "routers" / "frr.conf"
    files = [topology.path.parent / "nodes" / "anycast" / name / "haman.toml" for name in NODES]
    words = [word for file in files for word in ("-c", str(file))]
    done = CliRunner().invoke(cli, ["router-config", "frr", *words])
    assert done.exit_code == 0
    assert written.read_text() == done.stdout


def test_a_router_of_bird_is_given_its_own_text(topology: Topology, tmp_path: Path) -> None:
    path = tmp_path / "bird.conf"
    router = replace(topology.nodes[1], binds=(Bind(path, "/etc/bird/bird.conf"),))
    routers.prepare(replace(topology, nodes=(router, *topology.nodes[3:])))
    assert "protocol bgp 'haman_lb3_router-v6' {" in path.read_text()


def test_nodes_that_do_not_fit_are_told_before_anything_starts(topology: Topology) -> None:
    file = topology.path.parent / "nodes" / "anycast" / "lb2" / "haman.toml"
    file.write_text(file.read_text().replace("peer_as = 65000", "peer_as = 65009"))
    with pytest.raises(LabError, match=r"lb2/haman\.toml: bgp\.neighbor\[router\]\.peer_as"):
        lab.prepare_keys(topology.path, make_key)


@pytest.mark.parametrize(
    ("answer", "node"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nserved-by: lb2\r\n\r\nbe1\n", "lb2"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nserved-by", ""),
        (b"", ""),
    ],
)
def test_a_proxy_says_its_name(answer: bytes, node: str) -> None:
    assert node_of(answer) == node
