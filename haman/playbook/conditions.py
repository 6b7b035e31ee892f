"""Whether a state that a step names holds now: one look, and what is missing."""

from dataclasses import dataclass

from haman.api import schema
from haman.api.client import UnreachableError
from haman.api.leftover import counted
from haman.config.forms import split_host_port
from haman.playbook.cluster import Cluster
from haman.playbook.guards import ROOM, missing, serving_nothing
from haman.playbook.hosts import CutError, HostError, Hosts
from haman.playbook.model import Assert, WaitFor, When
from haman.playbook.parameters import render

LOOK_S = 10.0
"""For one command, one connection."""


@dataclass(frozen=True, slots=True)
class Looker:
    """Looks at nodes and cluster.

    Attributes:
        before: the cluster when the run began; None = nobody watches one.
        facts: by node, what text may be filled with.
    """

    hosts: Hosts
    cluster: Cluster
    before: schema.Status | None
    facts: dict[str, dict[str, str]]

    def lacks(self, wanted: WaitFor | Assert, node: str) -> list[str]:
        """What does not hold of a state; [] = all of it holds."""
        told = self._cluster_lacks(wanted, node)
        facts = self.facts.get(node, {})
        if wanted.probe:
            host, port = split_host_port(render(wanted.probe, facts, quoted=False))
            if problem := self.hosts.probe(node, host, port, LOOK_S):
                told.append(f"{wanted.probe} does not accept connections: {problem}")
        if wanted.command and (problem := self._fails(wanted.command, node)):
            told.append(problem)
        return told

    def skips(self, when: When, node: str) -> str:
        """Why a step is not to be done; "" = it is."""
        if when.set is not None and when.set in ("", False):
            return "not asked for"
        if when.nodes and node not in when.nodes:
            return f"for {', '.join(when.nodes)} only"
        if when.site and self.facts.get(node, {}).get("node.site") != when.site:
            return f"for nodes in {when.site} only"
        if when.holds and not self._held(when.holds, node):
            return f"{node} did not serve {when.holds}"
        if when.condition:
            now = self.cluster.status()
            found = next((n.condition for n in now.nodes if n.name == node), "unknown")
            if found != when.condition:
                return f"{node} is {found}"
        return self._fails(when.command, node) if when.command else ""

    def _held(self, service: str, node: str) -> bool:
        services = self.before.services if self.before is not None else ()
        return any(node in s.holders for s in services if s.name == service)

    def _fails(self, command: str, node: str) -> str:
        text = render(command, self.facts.get(node, {}), quoted=True)
        try:
            done = self.hosts.run(node, text, LOOK_S)
        except (HostError, CutError) as error:
            return str(error)
        if done.status == 0:
            return ""
        return done.last_line or f"status {done.status}"

    def _cluster_lacks(self, wanted: WaitFor | Assert, node: str) -> list[str]:
        told: list[str] = []
        if wanted.condition or wanted.proxy_up is not None or wanted.connections_max is not None:
            told += self._node_lacks(wanted, node)
        shared = wanted.headroom or wanted.service or wanted.holder
        if not shared and wanted.serving is None:
            return told
        now = self.cluster.status()
        if wanted.serving is False:
            told += serving_nothing(now, node)
        elif wanted.serving and self.before is not None:
            told += missing(self.before, now, node)
        if wanted.headroom and ROOM[wanted.headroom] < ROOM.get(now.headroom.verdict, 2):
            told.append(f"N−1 is {now.headroom.verdict}")
        states = {s.name: s for s in now.services}
        for name, state in wanted.service.items():
            if name not in states or states[name].state != state:
                told.append(f"{name} is {states[name].state if name in states else 'not known'}")
        for name, holder in wanted.holder.items():
            held = states[name].holders if name in states else ()
            if held != (holder,):
                told.append(f"{name} is on {', '.join(held) or 'nobody'}")
        return told

    def _node_lacks(self, wanted: WaitFor | Assert, node: str) -> list[str]:
        """Ask the node itself: it knows first."""
        try:
            now = self.cluster.own(node)
        except UnreachableError as error:
            return [str(error)]
        found = next((n for n in now.nodes if n.name == node), None)
        if found is None:
            return [f"the agent there is {now.node}, not {node}"]
        told = []
        if wanted.condition and found.condition != wanted.condition:
            told.append(f"{node} is {found.condition}")
        if wanted.proxy_up is not None and found.proxy.up != wanted.proxy_up:
            told.append(f"its proxy is {'up' if found.proxy.up else 'down'}")
        if wanted.connections_max is not None:
            if found.connections is None:
                told.append("how many clients are connected is not known")
            elif found.connections > wanted.connections_max:
                told.append(f"{counted(found.connections)} connected")
        return told
