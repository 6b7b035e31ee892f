"""Before the first task: every node reached, known to be the one that is meant, and locked."""

import getpass
import socket
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from haman.api.client import UnreachableError
from haman.playbook import shell
from haman.playbook.hosts import CutError, Host, HostError, Hosts

THREADS = 16
COMMAND_S = 20.0
ANYTHING = "id -u"

T = TypeVar("T")


class UnpreparedError(Exception):
    """The run cannot begin; nothing was done.

    Attributes:
        problems: one for each node.
        unreachable: nodes could not be reached; else they said no.
    """

    def __init__(self, problems: Iterable[str], *, unreachable: bool) -> None:
        self.problems = tuple(problems)
        self.unreachable = unreachable
        super().__init__("\n".join(self.problems))


def reach(
    hosts: Hosts, inventory: Mapping[str, Host], nodes: tuple[str, ...], *, agents: bool
) -> None:
    """Log in everywhere, and ask the agents of the nodes at work who they are.

    Raises:
        UnpreparedError: with every node's problem.
    """

    def look(node: str) -> str:
        try:
            done = hosts.run(node, ANYTHING, COMMAND_S)
            if done.status:
                return f"{node}: commands do not run there: {done.last_line}"
            if agents and node in nodes and (name := hosts.agent(node).status().node) != node:
                return f"{node}: the agent there is {name}; is its address right?"
        except (HostError, CutError, UnreachableError) as error:
            return str(error)
        return ""

    if problems := [p for p in _everywhere(look, inventory) if p]:
        raise UnpreparedError(problems, unreachable=True)


def lock(hosts: Hosts, inventory: Mapping[str, Host], place: shell.Place) -> None:
    """Take every node for a run, all or none; its own locks are taken again.

    Raises:
        UnpreparedError: another run has one.
    """
    text = shell.lock(place, f"{getpass.getuser()}@{socket.gethostname()}")

    def take(node: str) -> str:
        try:
            done = hosts.run(node, text, COMMAND_S)
        except (HostError, CutError) as error:
            return str(error)
        if done.status == shell.LOCKED:
            run, *by = done.output.split("\n")
            who = f" of {by[0]}" if by and by[0] else ""
            return (
                f"{node}: run {run}{who} has the cluster: let it end, or `haman playbook resume {run}` "
                "where it was begun (--abandon gives the cluster free)"
            )
        return f"{node}: it cannot be locked: {done.last_line}" if done.status else ""

    found = dict(zip(sorted(inventory), _everywhere(take, sorted(inventory)), strict=True))
    if problems := [p for p in found.values() if p]:
        unlock(hosts, [node for node, problem in found.items() if not problem], place)
        raise UnpreparedError(problems, unreachable=False)


def unlock(hosts: Hosts, nodes: Iterable[str], place: shell.Place) -> list[str]:
    """Let nodes go; give the problems of those that could not be."""

    def let_go(node: str) -> str:
        try:
            done = hosts.run(node, shell.unlock(place), COMMAND_S)
        except (HostError, CutError) as error:
            return str(error)
        return f"{node}: its lock stays: {done.last_line}" if done.status else ""

    return [p for p in _everywhere(let_go, nodes) if p]


def _everywhere(do: Callable[[str], T], nodes: Iterable[str]) -> list[T]:
    """Do something on all nodes, some at a time; results in their order."""
    with ThreadPoolExecutor(THREADS, "playbook-prepare") as pool:
        return list(pool.map(do, nodes))
