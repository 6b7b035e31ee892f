"""The README's diagram of the virtual router, made from its table of transitions.

`python -m tests.core.vrrp.diagram` prints it; a test holds the README to it.
"""

import sys
from itertools import groupby

from haman.core.vrrp.transitions import TRANSITIONS, Transition


def _edge(transition: Transition) -> tuple[str, str]:
    return transition.old.value, transition.new.value


def mermaid() -> str:
    """One edge per pair of roles; its label names the inputs that take it."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> initialize"]
    for (old, new), group in groupby(sorted(TRANSITIONS, key=_edge), key=_edge):
        labels = dict.fromkeys(t.code or t.event.__name__ for t in group)
        lines.append(f"    {old} --> {new}: {', '.join(labels)}")
    return "\n".join([*lines, "```"])


if __name__ == "__main__":
    sys.stdout.write(mermaid() + "\n")
