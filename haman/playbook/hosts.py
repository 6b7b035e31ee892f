"""What a run needs of the machines that it works on; `ssh` is what there is, tests have another."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from haman.api.client import Client
from haman.api.targets import parse_target


class HostError(Exception):
    """A node cannot be worked on; the text says why, and what to do. Nothing was begun there."""


class CutError(Exception):
    """The connection was lost while something was under way; what became of it is not known."""


@dataclass(frozen=True, slots=True)
class Host:
    """A node, and where to log in. `user` "" and `port` 0: what ~/.ssh/config or ssh's default says."""

    node: str
    address: str
    user: str = ""
    port: int = 0
    site: str = ""


def as_host(node: str, target: str, site: str = "") -> Host:
    """Read [USER@]HOST[:PORT] as where a node is.

    Raises:
        ValueError: it is something else.
    """
    found = parse_target(target)
    user = found.user if "@" in target else ""
    return Host(node, found.host, user, found.port if found.port_given else 0, site)


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended. `output` is the last of what it said, both streams as they came."""

    status: int
    output: str

    @property
    def last_line(self) -> str:
        """What it said in the end; "" = nothing."""
        return self.last_lines(1)

    def last_lines(self, count: int) -> str:
        """The last lines that say something, in one."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return " | ".join(lines[-count:])


Tell = Callable[[str], None]
"""Takes output as it comes, in whole lines."""


class Hosts(Protocol):
    """The nodes of an inventory. Every method may be called from several threads."""

    def run(
        self,
        node: str,
        text: str,
        timeout_s: float,
        *,
        given: bytes = b"",
        tell: Tell | None = None,
    ) -> Done:
        """Run shell text on a node as the user who works there, and wait for its end.

        Args:
            node: of the inventory.
            text: for sh.
            timeout_s: after it the connection to the command is given up: CutError.
            given: on its standard input.
            tell: takes output meanwhile.

        Raises:
            HostError: it was not begun.
            CutError: nobody knows whether it has ended.
        """

    def fetch(self, node: str, text: str, timeout_s: float, bytes_max: int) -> tuple[int, bytes]:
        """Run shell text, and give its status and its output whole; as `run`."""

    def probe(self, node: str, address: str, port: int, timeout_s: float) -> str:
        """Connect to an address from a node; "" when that worked, else why not."""

    def agent(self, node: str) -> Client:
        """Give the way to the node's agent; its questions raise UnreachableError where there is none."""

    def close(self) -> None:
        """Let go of all connections."""
