"""What a lab needs from whatever runs its nodes. `netns` is the runtime there is."""

import subprocess
from collections.abc import Mapping, Sequence
from typing import Protocol

from haman.lab.topology import Topology

RUNTIMES = ("netns",)


class LabError(Exception):
    """The lab cannot do what was asked; the text says why and what to do."""


class Runtime(Protocol):
    """Nodes, up and running, of one topology."""

    @property
    def topology(self) -> Topology:
        """What was brought up."""

    @property
    def pids(self) -> Mapping[str, int]:
        """Process 1 of each node, as the host numbers it."""

    def exec(
        self, node: str, command: Sequence[str], *, timeout_s: float = 30
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside a node and collect its output; a failure is a value."""

    def spawn(
        self, node: str, command: Sequence[str], *, stdout: int | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command inside a node with this process's standard streams, or its own stdout."""
