"""A pair of real agents to be hard on: what they say, what the kernels hold, and how to hurt them."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from haman.api import schema
from haman.api.client import Client, RefusedError, UnreachableError
from haman.cli.lab import make_cluster_key
from haman.lab import holders, kernel, lab
from tests.lab.labs import quiet

SHIPPED = Path(__file__).parents[2] / "lab"
VIP = "web"
ADDRESSES = ("10.77.0.100", "fd00:77::100")
DEADLINE_S = 20.0
"""Generous: an agent that starts again on a machine that runs other things takes seconds to begin."""
NODES = ("lb1", "lb2")
BUSY_HOST = {"engine-late", "soft-threshold"}
"""Alerts that a host has for itself which runs other things beside the tests."""


@dataclass
class Pair:
    """The shipped pair lab, up."""

    lab: lab.Lab
    spawned: list[subprocess.Popen[bytes]] = field(default_factory=list)

    # ---- asking ----------------------------------------------------------------------------

    def status(self, node: str) -> schema.Status:
        """What a node's agent says of the cluster."""
        return self._client(node).status()

    def why(self, node: str) -> str:
        """What `haman why web` prints there."""
        return self.haman(node, "why", VIP).stdout

    def reasons(self, node: str, of: str) -> set[str]:
        """Codes of the reasons that a node gives, asked why, for the part of node `of`."""
        members = self._client(node).why(VIP).members
        return {reason.code for member in members if member.node == of for reason in member.reasons}

    def alert(self, node: str, code: str) -> str:
        """What a node's alert of that code says; of several, all lines."""
        return "\n".join(a.text for a in self.status(node).alerts if a.code == code)

    def role(self, node: str, asked: str = "") -> schema.Member:
        """What `node` is to the VIP, as `asked` says; by default it is asked itself."""
        members = self.status(asked or node).services[0].members
        return next(member for member in members if member.node == node)

    def events(self, node: str) -> list[str]:
        """Types of the last events of a node, oldest first."""
        return [event.type for event in self._client(node).events(-100)]

    def holders(self) -> tuple[str, ...]:
        """Who has the VIP's first address, as the kernels say."""
        return self.lab.holders()[VIP]

    def _client(self, node: str) -> Client:
        return Client(f"/proc/{self.lab.runtime.pids[node]}/root/run/haman/haman.sock")

    # ---- acting ----------------------------------------------------------------------------

    def haman(self, node: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a verb on a node."""
        return self.lab.runtime.exec(node, ["haman", *words])

    def sh(self, node: str, script: str) -> None:
        """Run a shell script on a node; it must succeed."""
        done = self.lab.runtime.exec(node, ["sh", "-euc", script])
        assert done.returncode == 0, done.stderr

    def spawn(self, node: str, script: str) -> None:
        """Run Python code on a node until the test is over; it must print a line when it is ready."""
        process = self.lab.runtime.spawn(node, ["python3", "-c", script], stdout=subprocess.PIPE)
        self.spawned.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"

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

    def cut(self, node: str, packets: str) -> None:
        """Drop these packets, by nft's words, on their way in and out of a node."""
        script = "add table inet cut;"
        for hook in ("input", "output"):
            script += f"add chain inet cut {hook} {{ type filter hook {hook} priority 0; }};"
            script += f"add rule inet cut {hook} {packets} drop;"
        self.sh(node, f"nft '{script}'")

    def mend(self, node: str) -> None:
        """Undo `cut`."""
        self.sh(node, "nft delete table inet cut")

    def start_all(self, node: str) -> None:
        """Start what the node's list names and does not run."""
        os.kill(self.lab.runtime.pids[node], signal.SIGHUP)

    def restart_agent(self, node: str) -> None:
        """As `systemctl restart`: ended politely, started again a second later."""
        before = self.pids(node, "haman-agent")
        self.signal(node, "haman-agent", signal.SIGTERM)
        eventually(lambda: not set(before) & set(self.pids(node, "haman-agent")))
        eventually(lambda: self.role(node).role in {"active", "backup", "released"})

    def end(self) -> None:
        """End what was spawned."""
        for process in self.spawned:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self.spawned.clear()

    # ---- holding it to its word ------------------------------------------------------------

    @contextmanager
    def unmoved(self) -> Iterator[None]:
        """Whatever happens inside: no address of the VIP comes or goes anywhere, not for a moment."""
        watch = holders.Watch(self.lab.runtime.pids)
        watch.start(self.lab.runtime.pids)
        began = time.monotonic_ns()
        try:
            yield
        finally:
            changes = watch.stop()
        assert watch.overruns == 0
        moved = [c for c in changes if c.address in ADDRESSES and c.at_ns > began]
        renewed = {(c.node, c.address) for c in moved if c.present}
        assert not [c for c in moved if not c.present], moved
        assert {node for node, _ in renewed} <= set(self.holders()), moved

    def settle_on(self, *nodes: str) -> None:
        """Wait until the kernels and both agents agree on who holds the VIP."""
        eventually(lambda: self.holders() == nodes, lambda: f"{self.holders()}, wanted {nodes}")
        for node in NODES:
            self._until(node, lambda status: status.services[0].holders == nodes)

    def be_well(self) -> None:
        """Wait until both agents see both nodes in service, a holder, a standby, and no alert."""
        for node in NODES:
            self._until(node, is_well)

    def be_alerted(self, *codes: str, nodes: tuple[str, ...] = NODES) -> None:
        """Wait until all these alerts are up at once on these nodes."""
        for node in nodes:
            self._until(node, lambda status: set(codes) <= {a.code for a in status.alerts})

    def _until(self, node: str, condition: Callable[[schema.Status], bool]) -> None:
        eventually(lambda: condition(self.status(node)), lambda: str(self.status(node)))


@contextmanager
def pair_of_agents(tree: Path) -> Iterator[Pair]:
    """The shipped lab in a checkout of its own, both nodes in service and heard."""
    (tree / ".git").mkdir(parents=True)
    path = Path(shutil.copytree(SHIPPED, tree / "lab")) / "pair.clab.yml"
    pair = None
    try:
        pair = Pair(lab.up(path, make_cluster_key, say=quiet))
        pair.be_well()
        yield pair
    finally:
        if pair is not None:
            pair.end()
        lab.down(path)


def is_well(status: schema.Status) -> bool:
    """Whether both nodes are in service and the VIP is served, with a standby, without an alert."""
    in_service = all(node.condition == "in-service" for node in status.nodes)
    alerts = {alert.code for alert in status.alerts} - BUSY_HOST
    return in_service and status.services[0].state == "ok" and not alerts


def eventually(
    condition: Callable[[], object],
    story: Callable[[], str] = str,
    timeout_s: float = DEADLINE_S,
) -> None:
    """Wait for a condition; an agent that cannot be asked now does not meet it."""

    def holds() -> bool:
        try:
            return bool(condition())
        except (UnreachableError, RefusedError):
            return False

    assert kernel.wait_until(holds, timeout_s), story()
