"""The anycast lab for real: FRR or BIRD, three announcing nodes, and the quick drills."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from haman.cli.lab import make_cluster_key
from haman.lab import agent, faults, lab, report, routes, run
from haman.lab.drill import Step, read_drill, relaxed
from haman.lab.kernel import wait_until
from haman.lab.paths import Hop, Route
from haman.lab.topology import Bind, read_topology
from haman.lab.verdict import judge
from tests.lab.labs import SHIPPED, SLACK, announcing, quiet

pytestmark = [pytest.mark.privileged, pytest.mark.real("haproxy"), pytest.mark.real("vtysh")]

# The others take longer; `haman lab drill --all` does them all.
QUICK = ("all-nodes-fault", "controller-crash", "drain", "exabgp-crash")
QUICK += ("node-silent", "proxy-crash", "router-clears-session", "weight")
DRILLS = [SHIPPED / "drills" / f"anycast-{name}.toml" for name in QUICK]
PREFIXES = ("192.0.2.100/32", "2001:db8::100/128")
NODES = ("lb1", "lb2", "lb3")
DEADLINE_S = 30.0


@contextmanager
def brought_up(tree: Path, router: str) -> Iterator[lab.Lab]:
    """The shipped lab in a checkout of its own, its router running FRR or BIRD."""
    path = announcing(tree)
    topology = read_topology(path)
    if router == "bird":
        binds = (
            Bind(tree / ".lab" / "bird.conf", "/etc/bird/bird.conf", read_only=True),
            Bind(path.parent / "nodes" / "bird-processes.toml", "/etc/lab/processes.toml"),
        )
        nodes = (replace(n, binds=binds) if n.name == "router" else n for n in topology.nodes)
        topology = replace(topology, nodes=tuple(nodes))
    try:
        yield lab.bring_up(topology, make_cluster_key, say=quiet)
    finally:
        lab.down(path)


@pytest.fixture(scope="module")
def anycast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lab.Lab]:
    with brought_up(tmp_path_factory.mktemp("anycast") / "tree", "frr") as running:
        yield running


def routed(running: lab.Lab) -> dict[str, Route]:
    return dict(routes.routes_now(running.routers, running.services))


def goes_to(running: lab.Lab, *nodes: str) -> bool:
    """Whether the router sends both prefixes to these nodes, and to no other."""
    return all(tuple(h.node for h in route.hops) == nodes for route in routed(running).values())


def test_both_families_are_served_by_every_node(anycast: lab.Lab) -> None:
    for route in routed(anycast).values():
        assert lab.equal_shares(route.by_bgp, NODES)
    for host in ("192.0.2.100", "[2001:db8::100]"):
        script = f"for i in $(seq 60); do curl -sSk -o /dev/null -D - https://{host}/; done"
        answers = anycast.runtime.exec("client", ["sh", "-c", script]).stdout
        served = {line.split()[1] for line in answers.splitlines() if line.startswith("served-by")}
        assert served == set(NODES)


def test_the_router_understood_every_line(anycast: lab.Lab) -> None:
    done = anycast.runtime.exec("router", ["vtysh", "-b"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    told = anycast.runtime.exec("router", ["vtysh", "-c", "show bfd peers brief"]).stdout
    assert told.count(" up ") == 2 * len(NODES)


@pytest.mark.parametrize("path", DRILLS, ids=lambda path: path.stem)
def test_drill(anycast: lab.Lab, path: Path) -> None:
    drill = relaxed(read_drill(path), SLACK)
    try:
        record = run.run(anycast, drill, say=quiet)
    finally:
        run.recover(anycast)
    assert report.passed(judge(record)), report.to_text(record)
    assert not any(agent.drained(anycast.runtime, node) for node in NODES)


@pytest.mark.real("bird")
def test_bird_as_the_router(tmp_path: Path) -> None:
    """Equal shares; who shuts is left; the drained are the last resort, and the floor is after them."""
    with brought_up(tmp_path / "tree", "bird") as running:
        assert goes_to(running, *NODES)
        for node in ("lb1", "lb3"):
            faults.inflict(running.runtime, Step(0, "drain", node))
            left = [n for n in NODES if not agent.drained(running.runtime, n)]
            # At once, by the import filter: the withdrawal comes `drain_s` later.
            assert wait_until(lambda left=left: goes_to(running, *left), DEADLINE_S), routed(
                running
            )
        assert wait_until(lambda: all(is_withdrawn(running, n) for n in ("lb1", "lb3")), DEADLINE_S)
        assert goes_to(running, "lb2")
        faults.inflict(running.runtime, Step(0, "kill", "lb2", "haproxy"))
        last_resort = ("lb1", "lb3")
        assert wait_until(lambda: goes_to(running, *last_resort), DEADLINE_S), routed(running)
        for node in last_resort:
            faults.inflict(running.runtime, Step(0, "kill", node, "haproxy"))
        assert wait_until(lambda: all(is_withdrawn(running, n) for n in NODES), DEADLINE_S)
        floor = tuple(Hop(node) for node in NODES)
        assert wait_until(
            lambda: all(route.hops == floor for route in routed(running).values()), DEADLINE_S
        ), routed(running)
        run.recover(running)


def is_withdrawn(running: lab.Lab, node: str) -> bool:
    return agent.stance(running.runtime, node, "edge") == "withdrawn"
