"""Who held an address, when: from address changes to spans, and to the sums a drill judges. Pure."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AddressChanged:
    """An address appeared on an interface of a node, or went. `at_ns`: monotonic."""

    at_ns: int
    node: str
    address: str
    present: bool


@dataclass(frozen=True, slots=True)
class Tenure:
    """A span in which one node had an address."""

    node: str
    start_ns: int
    end_ns: int


def tenures(
    changes: Iterable[AddressChanged], address: str, start_ns: int, end_ns: int
) -> tuple[Tenure, ...]:
    """The spans of one address between two instants, by start; what went before counts as state."""
    since: dict[str, int] = {}
    found = []
    for change in sorted(changes, key=lambda change: change.at_ns):
        if change.address != address or change.at_ns >= end_ns:
            continue
        at_ns = max(change.at_ns, start_ns)
        if change.present:
            since.setdefault(change.node, at_ns)
        elif (began := since.pop(change.node, None)) is not None and at_ns > began:
            found.append(Tenure(change.node, began, at_ns))
    found += [Tenure(node, began, end_ns) for node, began in since.items()]
    return tuple(sorted(found, key=lambda tenure: (tenure.start_ns, tenure.node)))


def held_by(spans: Sequence[Tenure], count: range, start_ns: int, end_ns: int) -> int:
    """For how many nanoseconds a number of nodes within `count` held the address."""
    edges = sorted({start_ns, end_ns, *(s.start_ns for s in spans), *(s.end_ns for s in spans)})
    total = 0
    for left, right in itertools.pairwise(edges):
        holders = sum(span.start_ns <= left and span.end_ns >= right for span in spans)
        if holders in count:
            total += right - left
    return total


def dual_ns(spans: Sequence[Tenure], start_ns: int, end_ns: int) -> int:
    """For how long two or more nodes held the address at once."""
    return held_by(spans, range(2, 1 << 16), start_ns, end_ns)


def unheld_ns(spans: Sequence[Tenure], start_ns: int, end_ns: int) -> int:
    """For how long nobody held it."""
    return held_by(spans, range(1), start_ns, end_ns)


def final_holders(spans: Sequence[Tenure], end_ns: int) -> tuple[str, ...]:
    """Who holds it in the end."""
    return tuple(sorted(span.node for span in spans if span.end_ns == end_ns))
