"""Whether a drill fits a topology: every node and service that it names must be there. Pure."""

from collections.abc import Iterator
from pathlib import Path

from haman.lab.drill import Drill
from haman.lab.runtime import LabError
from haman.lab.services import services_of
from haman.lab.topology import Problem, Topology, suggestion


def misfits(path: Path, drill: Drill, topology: Topology) -> tuple[Problem, ...]:
    """Everything that the drill of a file names and its topology does not have."""
    return tuple(Problem(path, key, message) for key, message in _misfits(drill, topology))


def _misfits(drill: Drill, topology: Topology) -> Iterator[tuple[str, str]]:
    if drill.topology != topology.name:
        yield "topology", f"{topology.path} is called {topology.name!r}, not {drill.topology!r}"
        return
    nodes = [node.name for node in topology.nodes]
    named = [(f"step[{i}].node", step.node) for i, step in enumerate(drill.step, 1)]
    named += [(f"step[{i}].peer", step.peer) for i, step in enumerate(drill.step, 1) if step.peer]
    named += [(f"step[{i}].to", step.to) for i, step in enumerate(drill.step, 1) if step.to]
    expect = drill.expect
    named += [(f"expect.holder.{vip}", node) for vip, node in expect.holder.items() if node]
    named += [
        (f"expect.announcers.{service}", node)
        for service, names in expect.announcers.items()
        for node in names
    ]
    named += [
        (f"expect.stances.{service}.{node}", node)
        for service, stances in expect.stances.items()
        for node in stances
    ]
    for table in ("events", "no_events", "alerts", "conditions"):
        named += [(f"expect.{table}.{node}", node) for node in getattr(expect, table)]
    named += [("expect.asked", expect.asked)] if expect.asked else []
    for key, node in named:
        if node not in nodes:
            yield key, f"there is no node {node!r} in {topology.name}{suggestion(node, nodes)}"
    try:
        services = services_of(topology)
    except LabError as error:
        yield "topology", str(error)
        return
    vips, anycasts = [v.name for v in services.vips], [a.name for a in services.anycasts]
    wanted = [(f"expect.holder.{name}", name, vips) for name in expect.holder]
    wanted += [(f"step[{i}].vip", s.vip, vips) for i, s in enumerate(drill.step, 1) if s.vip]
    wanted += [(f"expect.announcers.{name}", name, anycasts) for name in expect.announcers]
    wanted += [(f"expect.stances.{name}", name, anycasts) for name in expect.stances]
    if drill.load.service:
        wanted.append(("load.service", drill.load.service, [*vips, *anycasts]))
    for key, name, known in wanted:
        if name not in known:
            yield key, f"there is no service {name!r} in {topology.name}{suggestion(name, known)}"
