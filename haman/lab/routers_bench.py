"""The fourth table of the benchmark: one node with many virtual routers, up to all that a link can have.

For each number and interval a lab of its own: what the agents of both nodes cost, then the active node
falls silent, and its peer takes over every address. An address counts as taken over when its gratuitous ARP is
on the link: both agents send it once the kernel has the address, and only then do others find it there. The
count begins with the last advert of the silent node, so that the interval's phase does not matter.
"""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from haman.lab import faults, holders, kernel
from haman.lab.contenders import HAMAN, KEEPALIVE, Agent, prepare
from haman.lab.cost import SETTLED_S, Cost, costs
from haman.lab.drill import Step
from haman.lab.lab import Lab, bring_up, down
from haman.lab.probe import NS_PER_MS
from haman.lab.run import CLIENT
from haman.lab.runtime import LabError, UnsettledError
from haman.lab.topology import read_topology
from haman.lab.wiretap import Frame, Tap, adverts, claims

AGENTS = (KEEPALIVE, HAMAN)
COUNTS = (1, 16, 64, 255)
ADVERTS_MS = (1000, 100)
ACTIVE, PEER, LINK = "lb1", "lb2", "eth1"
COST_S_MAX = 10.0
DOWN_INTERVALS = 3.61
"""3 × interval + skew of priority 100 (RFC 9568 section 6.1)."""
PATIENCE_S = 4.0
"""Longer than that is never."""


class Carried(Struct, frozen=True):
    """One agent with a number of virtual routers.

    Attributes:
        active: what it costs the node that has the addresses.
        backup: and the other one.
        announced_ms: by virtual router, from the silent node's last advert until its peer announced
            the address; None = never.
        held: addresses that the peer's kernel had in the end.
    """

    active: Cost
    backup: Cost
    announced_ms: tuple[float | None, ...]
    held: int

    @property
    def all_after_ms(self) -> float | None:
        """When the last address was taken over; None = one never was."""
        came = [ms for ms in self.announced_ms if ms is not None]
        whole = len(came) == len(self.announced_ms) == self.held
        return max(came) if whole else None


class Row(Struct, frozen=True):
    """One number of virtual routers and one interval; by the agent's name.

    None = it did not come to rest with one node alone holding all addresses, so that nothing could be
    measured.
    """

    routers: int
    advert_ms: int
    carried: dict[str, Carried | None]


def bench(
    path: Path,
    make_cluster_key: Callable[[Path], None],
    *,
    repetitions: int,
    say: Callable[[str], None] = print,
    counts: Sequence[int] = COUNTS,
) -> tuple[Row, ...]:
    """Measure each agent with each number of virtual routers, once: what varies is within a run.

    Args:
        path: the pair's topology.
        make_cluster_key: writes a new cluster key file.
        repetitions: costs are watched for as many seconds, at most 10.
        say: told about each step that a person waits for.
        counts: of virtual routers.

    Raises:
        LabError: a lab cannot be brought up at all.
    """
    topology = read_topology(path)
    rows = []
    for routers, advert_ms in itertools.product(counts, ADVERTS_MS):
        carried: dict[str, Carried | None] = {}
        for agent in AGENTS:
            say(f"{agent.name}: {routers} virtual routers, adverts every {advert_ms} ms")
            prepared, services = prepare(topology, agent, advert_ms, routers)
            try:
                lab = bring_up(prepared, make_cluster_key, services=services, say=lambda _: None)
                time.sleep(SETTLED_S)
                over_s = min(float(repetitions), COST_S_MAX)
                carried[agent.name] = measure(lab, agent, advert_ms, over_s)
            except UnsettledError as error:
                say(str(error))
                carried[agent.name] = None
            finally:
                down(path)
        rows.append(Row(routers, advert_ms, carried))
    return tuple(rows)


def measure(lab: Lab, agent: Agent, advert_ms: int, over_s: float) -> Carried:
    """What the agent costs, and how it fails over; the active node is silent afterwards."""
    pids = {node: lab.runtime.pids[node] for node in (ACTIVE, PEER)}
    spent = costs(pids, agent.all, over_s)
    addresses = [vip.addresses[0] for vip in lab.vips]

    def held() -> int:
        now = holders.addresses_now({PEER: pids[PEER]})[PEER]
        return len(now.intersection(addresses))

    with Tap(lab.runtime.pids[CLIENT], LINK) as tap:
        time.sleep(1.1 * advert_ms / 1000)
        faults.inflict(lab.runtime, Step(0, "silence", ACTIVE))
        # Not looked at before it can be: to look takes time from those who are looked at.
        time.sleep((DOWN_INTERVALS + 0.5) * advert_ms / 1000)
        kernel.wait_until(lambda: held() == len(addresses), PATIENCE_S, poll_s=0.2)
        time.sleep(0.1)
    if tap.lost:
        raise LabError(f"{tap.lost} frames were lost before they were read: the record has a hole")
    came_ms = announced_ms(tap.frames)
    return Carried(
        spent[ACTIVE], spent[PEER], tuple(came_ms.get(address) for address in addresses), held()
    )


def announced_ms(frames: Sequence[Frame]) -> Mapping[str, float]:
    """By address: from the last advert of who speaks first until another one announced it.

    Raises:
        LabError: no advert at all.
    """
    said = adverts(frames)
    if not said:
        raise LabError("no advert was heard: there is nothing to measure")
    silent = said[0].mac
    since_ns = max(advert.at_ns for advert in said if advert.mac == silent)
    first: dict[str, float] = {}
    for claim in claims(frames):
        if claim.mac != silent and claim.at_ns > since_ns:
            first.setdefault(claim.address, round((claim.at_ns - since_ns) / NS_PER_MS, 2))
    return first


def to_markdown(rows: Sequence[Row]) -> str:
    """The table: CPU of both nodes, memory of the active one, and the last address after a silence."""
    names = [agent.name for agent in AGENTS]
    heads = ("CPU of a core, active + backup node", "memory (PSS)", "last address taken over after")
    titles = [f"{names[0]}: {heads[0]}", *heads[1:], f"{names[1]}: {heads[0]}", *heads[1:]]
    lines = [f"| virtual routers, adverts | {' | '.join(titles)} |"]
    lines.append("|---" * (len(titles) + 1) + "|")
    for row in rows:
        cells = [c for name in names if name in row.carried for c in _cells(row.carried[name])]
        lines.append(f"| {row.routers}, every {row.advert_ms:,} ms | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cells(carried: Carried | None) -> tuple[str, str, str]:
    if carried is None:
        return ("-", "-", "**both nodes go on taking addresses over**")
    after_ms = carried.all_after_ms
    missing = len(carried.announced_ms) - min(
        carried.held, sum(ms is not None for ms in carried.announced_ms)
    )
    return (
        f"{carried.active.cpu_percent:.1f} + {carried.backup.cpu_percent:.1f} %",
        f"{carried.active.pss_mb:.0f} MB",
        f"never: {missing} were not" if after_ms is None else f"{after_ms:,.1f} ms",
    )
