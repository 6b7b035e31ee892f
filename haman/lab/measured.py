"""What a client saw, told in lines: `python -m haman.lab.measured RESULT`, after `haman.lab.prober`."""

import itertools
import sys
from pathlib import Path

import msgspec

from haman.lab.probe import NS_PER_MS, OK, Result, failures


def told(result: Result) -> str:
    """New connections, those that failed, the longest time between two that were served."""
    served = sorted(a.end_ns for a in result.attempts if a.outcome == OK)
    edges = [result.started_ns, *served, result.ended_ns]
    gap_ms = max(b - a for a, b in itertools.pairwise(edges)) / NS_PER_MS
    failed = failures(result.attempts)
    why = f" ({', '.join(f'{kind} {count}' for kind, count in failed.items())})" if failed else ""
    lines = [
        f"{len(result.attempts)} new connections, {sum(failed.values())} failed{why}",
        f"longest time without one that was served: {gap_ms:.1f} ms",
    ]
    if result.order.connections:
        lost = f"{len(result.lost)} of {result.established}"
        lines.append(f"established connections lost: {lost}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(told(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Result)) + "\n")
