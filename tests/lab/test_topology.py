"""The topology reader: what the shipped file says, and every problem of a bad one at once."""

from pathlib import Path

import pytest
import yaml

from haman.lab.services import configurations, services_of
from haman.lab.topology import BadFileError, Endpoint, read_topology

ROOT = Path(__file__).parents[2]
PAIR = ROOT / "lab" / "pair.clab.yml"
SHIPPED = sorted((ROOT / "lab").glob("*.clab.yml"))

MINIMAL = """
name: two
topology:
  nodes:
    a: {kind: linux, image: x}
    b: {kind: linux, image: x}
  links:
    - endpoints: ["a:eth1", "b:eth1"]
"""


def read(tmp_path: Path, text: str):
    path = tmp_path / "lab.clab.yml"
    path.write_text(text)
    return read_topology(path)


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(BadFileError) as caught:
        read(tmp_path, text)
    return [f"{p.key}: {p.message}" if p.key else p.message for p in caught.value.problems]


def test_the_pair_is_two_proxies_a_client_two_back_ends_and_a_switch() -> None:
    pair = read_topology(PAIR)
    assert [node.name for node in pair.nodes] == ["switch", "client", "lb1", "lb2", "be1", "be2"]
    assert pair.far_ends("lb1") == (Endpoint("switch", "eth2"),)
    assert {node.image for node in pair.nodes} == {"haman-lab"}


def test_what_the_pair_binds_is_in_the_tree_or_made_when_it_comes_up() -> None:
    for node in read_topology(PAIR).nodes:
        for bind in node.binds:
            made = bind.source.is_relative_to(ROOT / ".lab" / "pair" / "keys")
            assert made or bind.source.is_file(), bind


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_topologies_use_only_what_containerlab_knows(path: Path) -> None:
    """Structure of containerlab's schema: key names, endpoint form, required parts."""
    document = yaml.safe_load(path.read_text())
    assert set(document) <= {"name", "prefix", "mgmt", "topology"}
    assert set(document["topology"]) <= {"nodes", "kinds", "defaults", "groups", "links"}
    assert document["mgmt"] == {"skip-when-unused": True}
    assert document["topology"]["kinds"]["linux"]["network-mode"] == "none"
    known = {"kind", "image", "exec", "binds", "env", "sysctls", "labels"}
    for node in document["topology"]["nodes"].values():
        assert set(node) <= known
        assert all(isinstance(command, str) for command in node.get("exec", ()))
        assert len(set(node.get("binds", ()))) == len(node.get("binds", ()))
    for link in document["topology"]["links"]:
        assert set(link) == {"endpoints"}
        assert len(link["endpoints"]) == 2


def test_defaults_and_kinds_reach_nodes_and_the_node_wins(tmp_path: Path) -> None:
    lab = read(
        tmp_path,
        """
name: n
topology:
  defaults: {image: base, env: {A: 1}}
  kinds: {linux: {image: kind}}
  nodes:
    a: {kind: linux}
    b: {kind: linux, image: own, exec: ["sh -c 'echo a b'"]}
""",
    )
    a, b = lab.nodes
    assert (a.image, b.image) == ("kind", "own")
    assert a.env == {"A": "1"}
    assert b.exec == (("sh", "-c", "echo a b"),)


def test_what_a_node_inherits_is_joined_as_containerlab_joins_it(tmp_path: Path) -> None:
    lab = read(
        tmp_path,
        """
name: n
topology:
  kinds:
    linux: {image: x, exec: [a], sysctls: {k: 1, l: 1}, binds: ["p:/etc/p", "q:/etc/q"]}
  nodes:
    a: {kind: linux, exec: [b], sysctls: {l: 2}, binds: ["r:/etc/q:ro"]}
""",
    )
    (a,) = lab.nodes
    assert a.exec == (("a",), ("b",))
    assert a.sysctls == {"k": "1", "l": "2"}
    assert [(b.source.name, b.target) for b in a.binds] == [("p", "/etc/p"), ("r", "/etc/q")]


def test_the_edge_has_two_sites_and_a_second_path_inside_each() -> None:
    edge = read_topology(ROOT / "lab" / "edge.clab.yml")
    services = services_of(edge)
    assert services.routers == ("ra", "rb")
    assert {v.name: v.nodes for v in services.vips} == {
        "web-a": ("a1", "a2"),
        "web-b": ("b1", "b2"),
    }
    assert [a.nodes for a in services.anycasts] == [("a1", "a2", "b1", "b2", "b3")]
    assert edge.far_ends("a1") == (Endpoint("a2", "eth2"), Endpoint("sa", "eth2"))
    assert [node.name for node in edge.nodes if edge.is_switch(node.name)] == ["sa", "sb"]


def test_relative_sources_of_binds_are_relative_to_the_file(tmp_path: Path) -> None:
    lab = read(tmp_path, MINIMAL.replace("a: {kind", "a: {binds: ['x/y:/etc/y:ro'], kind"))
    (bind,) = lab.nodes[0].binds
    assert bind.source == tmp_path / "x" / "y"
    assert bind.read_only


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: two", "name: '-two'", "name: must begin"),
        ("name: two", "nam: two", "did you mean 'name'?"),
        ("kind: linux, image: x}\n    b", "kind: srl, image: x}\n    b", "nodes.a.kind: must be"),
        ("b: {kind: linux, image: x}", "b: {kind: linux}", "nodes.b.image: is missing"),
        ("b: {kind", "b: {network-mode: host, kind", "network-mode: must be 'none'"),
        ("name: two", "name: two\nmgmt: {ipv4-subnet: x}", "mgmt.ipv4-subnet: is not a key"),
        ("b: {kind", "b: {exce: [], kind", "did you mean 'exec'?"),
        ("b: {kind", "b: {exec: 'x', kind", "nodes.b.exec: must be a list"),
        ("b: {kind", 'b: {exec: ["echo \'"], kind', "cannot be split"),
        ("b: {kind", "b: {binds: ['x'], kind", "must be SOURCE:/TARGET"),
        ("b: {kind", "b: {binds: ['x:/y:zz'], kind", "the mode is ro or rw"),
        ("a:eth1", "c:eth1", "there is no node 'c'"),
        ("a:eth1", "a:eth0", "eth0 is containerlab's"),
        ('"b:eth1"', '"a:eth1"', "a:eth1 is used twice"),
        (', "b:eth1"', "", "a link has two ends"),
    ],
)
def test_a_problem_names_its_key_and_says_what_to_do(tmp_path, old, new, expected) -> None:
    assert old in MINIMAL
    assert any(expected in line for line in problems(tmp_path, MINIMAL.replace(old, new)))


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    bad = MINIMAL.replace("name: two", "name: ''").replace("a:eth1", "c:eth1")
    assert len(problems(tmp_path, bad)) == 2


def test_what_is_not_yaml_is_told_with_its_place(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, "name: [")
    assert "line 1, column 8" in line or "line 2" in line


@pytest.mark.parametrize("text", ["", "[]", "name: x\ntopology: 3\n"])
def test_what_is_no_topology_is_a_problem_not_a_crash(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, text)


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="No such file"):
        read_topology(tmp_path / "none.yml")


@pytest.mark.parametrize("name", ["anycast", "edge"])
def test_who_announces_finds_its_back_ends_before_its_router_has_it_back(name: str) -> None:
    """The kernel asks once a second, and requests of `anycast-link-down` wait for no longer than half of one."""
    topology = read_topology(ROOT / "lab" / f"{name}.clab.yml")
    for known in configurations(topology):
        node = topology.node(known.node)
        lines = [" ".join(words) for words in node.exec] if node else []
        assert any("100 >/proc/sys/net/ipv4/neigh/eth1/retrans_time_ms" in line for line in lines)
