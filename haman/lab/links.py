"""Cables between nodes: veth pairs made inside the nodes, so the host's namespace is never touched."""

import subprocess

from haman.lab.runtime import LabError
from haman.lab.topology import Link


def plug(link: Link, pids: dict[str, int]) -> None:
    """Create a link and set both ends up.

    The pair is born in the namespace of one end with its peer in the other's; it dies with either.
    """
    a, b = link.a, link.b
    _ip(
        pids[a.node],
        *("link", "add", a.interface, "type", "veth"),
        *("peer", "name", b.interface, "netns", str(pids[b.node])),
    )
    for end in (a, b):
        _ip(pids[end.node], "link", "set", end.interface, "up")


def loopback_up(pid: int) -> None:
    """A new namespace is born with its loopback down."""
    _ip(pid, "link", "set", "lo", "up")


def _ip(pid: int, *words: str) -> None:
    done = subprocess.run(
        ["nsenter", "--target", str(pid), "--net", "ip", *words],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise LabError(f"ip {' '.join(words)}: {done.stderr.strip()}")
