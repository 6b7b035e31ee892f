"""Cables between nodes: veth pairs made inside the nodes, so the host's namespace is never touched."""

import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from haman.lab import kernel
from haman.lab.runtime import LabError
from haman.lab.topology import Link

AT_ONCE = 4


def plug(links: Sequence[Link], pids: Mapping[str, int]) -> None:
    """Create all links and set every interface up, the loopbacks too: they are born down.

    A pair is born in the namespace of one end with its peer in the other's; it dies with either.

    Raises:
        LabError: a pair cannot be made; the text is the kernel's.
    """
    make: dict[str, list[str]] = {node: [] for node in pids}
    lift: dict[str, list[str]] = {node: ["link set lo up"] for node in pids}
    for a, b in ((link.a, link.b) for link in links):
        peer = f"peer name {b.interface} netns {pids[b.node]}"
        make[a.node].append(f"link add {a.interface} type veth {peer}")
        for end in (a, b):
            lift[end.node].append(f"link set {end.interface} up")
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        for lines in (make, lift):  # all of the first are there before the second
            list(
                pool.map(lambda node, wanted: _ip(node, pids[node], wanted), lines, lines.values())
            )


def _ip(node: str, pid: int, lines: Sequence[str]) -> None:
    """Run lines of ip-batch in the network namespace of a process."""
    if not lines:
        return
    batch = partial(
        subprocess.run,
        ["ip", "-batch", "-"],
        input="\n".join(lines) + "\n",
        check=False,
        capture_output=True,
        text=True,
    )
    done = kernel.in_netns(pid, batch)
    if done.returncode:
        raise LabError(f"{node}: ip: {' '.join(done.stderr.split())} ({'; '.join(lines)})")
