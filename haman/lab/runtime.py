"""What runs a lab's nodes, and how one acts inside of them whoever started them.

Every runtime makes the same thing of a node: namespaces around a process 1 (`haman.lab.init`), which
the host sees by its number. So faults, oracles and clients are the same on all of them; only bringing
up and taking down differ (`netns`, `containerlab`).
"""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from haman.lab.topology import Topology

RUNTIMES = ("netns", "containerlab")
NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid")


class LabError(Exception):
    """The lab cannot do what was asked; the text says why and what to do."""


class UnsettledError(LabError):
    """The nodes are up, and their services do not come to be where they belong."""


class UnshownError(LabError):
    """What a drill is about cannot be shown here; it is skipped, and the text says why."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """Nodes, up and running, of one topology.

    Attributes:
        topology: what was brought up.
        pids: process 1 of each node, as the host numbers it.
        environments: of each node, what its processes see.
    """

    topology: Topology
    pids: Mapping[str, int]
    environments: Mapping[str, Mapping[str, str]]

    def exec(
        self, node: str, command: Sequence[str], *, timeout_s: float = 30
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside a node and collect its output; a failure is a value.

        Raises:
            LabError: there is no such node, or the command did not end in time.
        """
        try:
            return subprocess.run(
                self._entering(node, command),
                check=False,
                capture_output=True,
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
                env=self.environments[node],
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            what = shlex.join(command)
            raise LabError(f"{node}: `{what}` did not end within {timeout_s:g} s") from None

    def spawn(
        self, node: str, command: Sequence[str], *, stdout: int | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command inside a node with this process's standard streams, or its own stdout."""
        entering = self._entering(node, command)
        return subprocess.Popen(entering, env=self.environments[node], stdout=stdout)

    def path(self, node: str, inside: str) -> Path:
        """Where the host sees a node's own file; `inside` is absolute."""
        return Path(f"/proc/{self.pids[node]}/root{inside}")

    def _entering(self, node: str, command: Sequence[str]) -> list[str]:
        if node not in self.pids:
            known = ", ".join(self.pids)
            raise LabError(f"lab {self.topology.name} has no node {node!r}; it has {known}")
        return ["nsenter", "--target", str(self.pids[node]), *NAMESPACES, "--", *command]


def terminal() -> dict[str, str]:
    """What a node's processes may know of the caller: its terminal."""
    return {key: os.environ[key] for key in ("TERM", "COLORTERM") if key in os.environ}
