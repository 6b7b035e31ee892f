"""The cluster as its agents see it now: whoever answers is asked, the node at work last."""

import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

from haman.api import schema
from haman.api.client import Client, RefusedError, UnreachableError
from haman.playbook.hosts import Hosts

T = TypeVar("T")


class SilentError(Exception):
    """No agent of the cluster answers; the text has the last one's reason."""


class Cluster:
    """Asks the agents of an inventory.

    Args:
        hosts: the way to them.
        nodes: whom to ask, in order.
    """

    def __init__(self, hosts: Hosts, nodes: Iterable[str]) -> None:
        self._hosts = hosts
        self._nodes = list(nodes)
        self._lock = threading.Lock()

    def status(self, about: str = "") -> schema.Status:
        """Ask for the whole cluster; `about`: the node at work, which is asked last.

        Raises:
            SilentError: nobody answers.
        """
        return self._ask(lambda client: client.status(), about)

    def loss(self, nodes: tuple[str, ...], about: str = "") -> schema.Scenario:
        """Ask what the loss of nodes together would come to.

        Raises:
            SilentError: nobody answers.
        """
        return self._ask(lambda client: client.scenario(nodes), about)

    def own(self, node: str) -> schema.Status:
        """Ask a node itself.

        Raises:
            UnreachableError: it does not answer.
        """
        return self._hosts.agent(node).status()

    def act(self, node: str, verb: str, wish: schema.Intent) -> schema.Done:
        """Have something done by the node's own agent.

        Raises:
            UnreachableError: it does not answer.
            RefusedError: it refuses.
        """
        return self._hosts.agent(node).act(verb, wish)

    def _ask(self, question: Callable[[Client], T], about: str) -> T:
        with self._lock:
            nodes = sorted(self._nodes, key=lambda name: name == about)
        last = "there is nobody to ask"
        for node in nodes:
            try:
                answer = question(self._hosts.agent(node))
            except UnreachableError as error:
                last = str(error)
            except RefusedError as error:
                last = f"{node}: {error}"
            else:
                self._prefer(node)
                return answer
        raise SilentError(f"no agent answers: {last}")

    def _prefer(self, node: str) -> None:
        """Ask first whoever answered last."""
        with self._lock:
            if self._nodes and self._nodes[0] != node:
                self._nodes.sort(key=lambda name: name != node)
