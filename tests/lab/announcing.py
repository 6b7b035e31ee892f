"""Three announcing agents and a router to be hard on: what they say, what its kernel does, how to hurt them."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from haman.api import schema
from haman.api.client import Client
from haman.cli.lab import make_cluster_key
from haman.lab import kernel, lab, routes
from haman.lab.paths import Route
from tests.lab.adversity import BUSY_HOST, eventually
from tests.lab.labs import announcing, quiet

SERVICE = "edge"
PREFIXES = ("192.0.2.100/32", "2001:db8::100/128")
NODES = ("lb1", "lb2", "lb3")
DEADLINE_S = 15.0
SHORT_LEASE = "[bgp]\nlease_shut_s = 8\nlease_withdraw_s = 11"
"""Its second half is longer than a controller takes to start on a busy machine."""


@dataclass
class Fleet:
    """The shipped anycast lab, up."""

    lab: lab.Lab
    tree: Path
    spawned: list[subprocess.Popen[bytes]] = field(default_factory=list)

    # ---- asking ----------------------------------------------------------------------------

    def status(self, node: str) -> schema.Status:
        """What a node's agent says of the cluster."""
        return self._client(node).status()

    def member(self, node: str, asked: str = "") -> schema.Member:
        """What `node` is to the service, as `asked` says; by default it is asked itself."""
        members = self.status(asked or node).services[0].members
        return next(member for member in members if member.node == node)

    def alert(self, node: str, code: str) -> str:
        """What a node's alerts of that code say."""
        return "\n".join(a.text for a in self.status(node).alerts if a.code == code)

    def why(self, node: str) -> str:
        """What a node says of its own part in the service."""
        return " ".join(reason.text for reason in self.member(node).reasons)

    def used(self, node: str, resource: str) -> float:
        """What a node uses of a resource, by its own word."""
        own = next(n for n in self.status(node).nodes if n.name == node)
        return next(r.used or 0.0 for r in own.resources if r.name == resource)

    def events(self, node: str) -> list[str]:
        """Types of the last events of a node, oldest first."""
        return [event.type for event in self._client(node).events(-100)]

    def routed(self, prefix: str = PREFIXES[0]) -> dict[str, int]:
        """Nodes to which the router's kernel sends the prefix because of BGP, and their weights."""
        return {hop.node: hop.weight for hop in self._table()[prefix].by_bgp}

    def floored(self) -> bool:
        """Whether the router's kernel falls back to the static routes."""
        return all(route.floor for route in self._table().values())

    def _table(self) -> Mapping[str, Route]:
        return routes.routes_now(self.lab.routers, self.lab.services)

    def _client(self, node: str) -> Client:
        return Client(f"/proc/{self.lab.runtime.pids[node]}/root/run/haman/haman.sock")

    # ---- acting ----------------------------------------------------------------------------

    def haman(self, node: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a verb on a node."""
        return self.lab.runtime.exec(node, ["haman", *words])

    def sh(self, node: str, script: str) -> str:
        """Run a shell script on a node; it must succeed."""
        done = self.lab.runtime.exec(node, ["sh", "-euc", script])
        assert done.returncode == 0, done.stderr
        return done.stdout

    def frr(self, *lines: str, configure: bool = True) -> str:
        """Tell the router's shell these lines, in configuration mode."""
        words = ["conf t", *lines] if configure else lines
        asked = [word for line in words for word in ("-c", line)]
        done = self.lab.runtime.exec("router", ["vtysh", *asked])
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def pids(self, node: str, name: str) -> list[int]:
        """Of the processes of that name on a node."""
        beside = kernel.processes_beside(self.lab.runtime.pids[node])
        return [pid for pid, own in beside if own == name]

    def signal(self, node: str, name: str, number: signal.Signals) -> None:
        """Send a signal to all processes of that name on a node, of which there must be some."""
        pids = self.pids(node, name)
        assert pids, f"{node} runs no {name}"
        for pid in pids:
            with suppress(ProcessLookupError):  # it died of the one before
                os.kill(pid, number)

    def start_all(self, node: str) -> None:
        """Start what the node's list names and does not run."""
        os.kill(self.lab.runtime.pids[node], signal.SIGHUP)

    def configure(self, node: str, *changes: tuple[str, str]) -> None:
        """Replace text in a node's configuration; its agent is told to read it anew."""
        path = self.tree / f"lab/nodes/anycast/{node}/haman.toml"
        text = path.read_text()
        for old, new in changes:
            assert old in text, f"{old!r} is not in {path}"
            text = text.replace(old, new)
        path.write_text(text)  # in place: it is a mount of its own in the node
        self.signal(node, "haman-agent", signal.SIGHUP)

    # ---- holding it to its word ------------------------------------------------------------

    def sessions(self, node: str) -> dict[str, tuple[int, int]]:
        """Of the node's sessions at the router: how often each came up, and went down."""
        here = self.lab.services.next_hops
        found = {}
        for address in (a for a, name in here.items() if name == node):
            told = self.frr(f"show bgp neighbors {address}", configure=False)
            counts = re.search(r"Connections established (\d+); dropped (\d+)", told)
            assert counts, told
            found[address] = (int(counts[1]), int(counts[2]))
        return found

    @contextmanager
    def never_without(self, *nodes: str) -> Iterator[list[tuple[str, Route]]]:
        """Whatever happens inside: the router's kernel always sends the prefixes to these nodes."""
        watch = routes.Watch(self.lab.routers, self.lab.services)
        watch.start()
        heard: list[tuple[str, Route]] = []
        try:
            yield heard
        finally:
            heard += [(change.prefix, change.route) for change in watch.stop()]
        assert watch.overruns == 0
        for prefix, route in heard:
            assert set(nodes) <= {hop.node for hop in route.by_bgp}, (prefix, heard)

    def settle(self, **weights: int) -> None:
        """Wait until the router's kernel spreads both families like this, over no other node."""
        eventually(lambda: self._spreads(weights), self.story, 2 * DEADLINE_S)

    def _spreads(self, weights: dict[str, int]) -> bool:
        for prefix in PREFIXES:
            got = self.routed(prefix)
            if set(got) != set(weights):
                return False
            scale = [got[node] / weights[node] for node in weights]
            # FRR states weights in percent, rounded down.
            if scale and max(scale) > 1.1 * min(scale):
                return False
        return True

    def be_well(self) -> None:
        """Wait until every agent sees all nodes at full weight, and no alert."""
        self.settle(**dict.fromkeys(NODES, 1))
        for node in NODES:
            self.until(node, is_well)

    def until(self, node: str, condition: Callable[[schema.Status], bool]) -> None:
        """Wait for a node's status to be such."""
        eventually(
            lambda: condition(self.status(node)), lambda: str(self.status(node)), 2 * DEADLINE_S
        )

    def told(self, node: str, code: str, *words: str) -> None:
        """Wait for an alert of that code on a node that says all these words."""
        eventually(
            lambda: (
                all(word in self.alert(node, code) for word in ("", *words))
                and self.alert(node, code)
            ),
            lambda: str(self.status(node).alerts),
            2 * DEADLINE_S,
        )

    def story(self) -> str:
        """What there is to say of a state that should not be."""
        said = {node: self.haman(node, "why", SERVICE).stdout for node in NODES}
        return f"{self._table()}\n{said}"

    def end(self) -> None:
        """End what was spawned."""
        for process in self.spawned:
            process.kill()
            process.wait()
        self.spawned.clear()


def is_well(status: schema.Status) -> bool:
    """Whether all nodes are in service and announce in full, without an alert."""
    in_service = all(node.condition == "in-service" for node in status.nodes)
    full = all(member.stance == "full" for member in status.services[0].members)
    return in_service and full and not {alert.code for alert in status.alerts} - BUSY_HOST


@contextmanager
def announcing_fleet(tree: Path) -> Iterator[Fleet]:
    """The shipped lab in a checkout of its own, with a short lease, every node announcing in full."""
    path = announcing(tree)
    for node in NODES:
        file = tree / f"lab/nodes/anycast/{node}/haman.toml"
        file.write_text(file.read_text().replace("[bgp]", SHORT_LEASE))
    try:
        fleet = Fleet(lab.up(path, make_cluster_key, say=quiet), tree)
        fleet.be_well()
        yield fleet
        fleet.end()
    finally:
        lab.down(path)
