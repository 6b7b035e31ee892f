"""Planned moves in a cluster that has healed: what must cost no connection, whatever the network is like."""

from random import Random
from typing import Final

from haman.sim.faults import Fault
from haman.sim.options import Options
from haman.sim.plans import NS_PER_S

PART: Final = 0.1
"""Of the seeds with tails."""
KINDS: Final = ("drain", "drain", "restart", "hot")
MOST: Final = 2
WITHIN_S: Final = 12.0
LENGTHS_S: Final = (1.0, 6.0, 15.0, 25.0)


def draw(options: Options, random: Random) -> tuple[Fault, ...]:
    """Those of a seed, from the begin of their phase; () = none."""
    anycast = options.nodes[0].anycast
    if not any(each.tail_ns for each in anycast) or random.random() >= PART:
        return ()
    found = []
    for _ in range(random.randint(1, MOST)):
        kind, node = random.choice(KINDS), random.choice(options.nodes).name
        at_ns = int(random.uniform(0.0, WITHIN_S) * NS_PER_S)
        for_ns = int(random.choice(LENGTHS_S) * random.uniform(0.8, 1.2) * NS_PER_S)
        amount = round(random.random(), 4) if kind == "hot" else 0.0
        found.append(Fault(at_ns, for_ns, kind, node, amount=amount))
    return tuple(sorted(found, key=lambda f: f.at_ns))
