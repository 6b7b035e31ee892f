"""Whom a run works on, in which order: from the cluster's own view, or as given. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from haman.api import schema
from haman.config.walk import suggestion
from haman.playbook.hosts import Host, as_host
from haman.playbook.model import Inventory


@dataclass(frozen=True, slots=True)
class Chosen:
    """The machines.

    Attributes:
        hosts: every node of the inventory; all of them are locked.
        nodes: those that the playbook is run on, in order.
    """

    hosts: Mapping[str, Host]
    nodes: tuple[str, ...]


def choose(
    inventory: Inventory,
    status: schema.Status | None,
    given: Mapping[str, str],
    wanted: tuple[str, ...],
    asked: str = "",
) -> tuple[Chosen | None, tuple[str, ...]]:
    """Put the inventory together.

    Args:
        inventory: of the playbook.
        status: the cluster's own view; None = there is none.
        given: [USER@]HOST[:PORT] by node, of the command line: counts before all else.
        wanted: run on these only [those of the playbook, else all].
        asked: [USER@]HOST[:PORT] of the agent that gave `status`: where its node is, if that says nothing.

    Returns:
        The machines, or None and what is wrong.
    """
    targets = {**inventory.host, **given}
    seen = {n.name: n for n in status.nodes} if status is not None else {}
    names = dict.fromkeys([*seen, *targets] if seen else targets)
    hosts = {}
    for name in names:
        node = seen.get(name)
        site = node.site if node is not None else ""
        known = node.address if node is not None else ""
        told_itself = status is not None and name == status.node and not known
        target = targets.get(name) or (asked if told_itself else "")
        hosts[name] = (
            as_host(name, target, site) if target else Host(name, known or name, site=site)
        )
    there = [n for n in names if inventory.site in {"", hosts[n].site}]
    nodes = wanted or inventory.nodes or tuple(there)
    problems = [
        f"there is no node {name} in the inventory{suggestion(name, list(names))}"
        for name in nodes
        if name not in names
    ]
    if names and not there:
        sites = sorted({h.site for h in hosts.values() if h.site})
        problems.append(f"no node is in {inventory.site}{suggestion(inventory.site, sites)}")
    if not names:
        problems.append(
            "nobody to work on: reach an agent (--socket, --ssh), or give nodes with --host NAME=HOST"
        )
    if problems:
        return None, tuple(problems)
    if inventory.order == "holders-last" and not wanted:
        held = _holders(status)
        nodes = tuple(sorted(nodes, key=lambda name: name in held))
    return Chosen(hosts, nodes), ()


def _holders(status: schema.Status | None) -> set[str]:
    """Nodes that hold a VIP: their turn comes last, so that it moves once."""
    services = status.services if status is not None else ()
    return {node for s in services if s.kind == "vip" for node in s.holders}
