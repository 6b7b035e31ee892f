"""What a client saw of a service, as data, and what follows from it. Pure.

Instants are CLOCK_MONOTONIC nanoseconds, which all processes of one machine share.
"""

import bisect
import itertools
from collections.abc import Sequence

from msgspec import Struct

NS_PER_MS = 1_000_000
OK = "ok"
STEP_REACH_NS = 100 * NS_PER_MS


class Attempt(Struct, frozen=True, array_like=True):
    """One new connection.

    `outcome`: ok, refused, reset, timeout, closed, status or an errno. `node`: which proxy served it,
    by its own word; "" where it was not asked or not answered.
    """

    start_ns: int
    end_ns: int
    outcome: str
    node: str = ""


class Lost(Struct, frozen=True, array_like=True):
    """One established connection that broke."""

    at_ns: int
    cause: str


class Order(Struct, frozen=True, forbid_unknown_fields=True):
    """What the prober shall do.

    Attributes:
        address: IPv4 or IPv6, of the service.
        mode: `connect`: a new connection counts when it is established; `http`: when a GET over it
            was answered with 200.
        new_per_s: new connections per second; 0 makes none.
        connections: long-lived ones, each exchanging a few bytes every `echo_interval_ms`.
        attempt_timeout_ms: how long a new connection may take. Shorter than the kernel's first
            retransmission of a SYN (1 s), so that each attempt is one question.
        echo_timeout_ms: without an answer for this long a long-lived connection counts as lost.
        count_again: one that was made again after a loss counts as the first ones do.
    """

    address: str
    duration_s: float
    mode: str = "http"
    port: int = 80
    new_per_s: int = 500
    connections: int = 0
    echo_port: int = 7000
    echo_interval_ms: int = 100
    attempt_timeout_ms: int = 500
    echo_timeout_ms: int = 2000
    count_again: bool = False

    @property
    def pace_ns(self) -> int:
        """From one new connection to the next; 0 = there are none."""
        return round(1e9 / self.new_per_s) if self.new_per_s else 0


class Result(Struct, frozen=True):
    """What the prober saw.

    Attributes:
        established: long-lived connections at the start.
        exchanges: answers received on them.
        unanswered: exchanges that ended with their connection instead.
        late_ms_max: the prober's own worst lateness; a gap below it may be the prober's.
        skipped: attempts not made because the prober was late or too many were pending.
    """

    order: Order
    started_ns: int
    ended_ns: int
    attempts: tuple[Attempt, ...]
    lost: tuple[Lost, ...]
    established: int
    exchanges: int
    late_ms_max: float
    skipped: int
    unanswered: int = 0


class Span(Struct, frozen=True):
    """A span: of a step, or without a single successful new connection."""

    start_ns: int
    end_ns: int

    @property
    def ms(self) -> float:
        """Its length."""
        return (self.end_ns - self.start_ns) / NS_PER_MS


def longest_gap(
    attempts: Sequence[Attempt],
    steps: Sequence[Span],
    start_ns: int,
    end_ns: int,
    *,
    pace_ns: int = 0,
) -> Span:
    """The longest span between successes that the steps of a drill can have caused: the outage.

    That is one that begins in a step or within `STEP_REACH_NS` after it, or in which a connection
    failed. Any other pause, in which all that was tried was served in the end, is the machine's own.

    A success is where its connection completed. A service that does not come back is out until
    `end_ns`; one that never served, since `start_ns`.

    Args:
        attempts: of the client, in any order.
        steps: when each was done.
        start_ns: from where on.
        end_ns: until where.
        pace_ns: the client's own, between two attempts. Where it paused for longer and tried nothing,
            a gap begins one pace before it tried again: nobody was kept waiting before. 0 = count that
            to the service too.
    """
    tried = sorted((a for a in attempts if a.end_ns < end_ns), key=lambda a: a.end_ns)
    instants = [a.end_ns for a in tried if a.outcome == OK]
    failed = sorted(a.start_ns for a in attempts if a.outcome != OK)
    first = min(step.start_ns for step in steps)
    earliest = list(itertools.accumulate((a.start_ns for a in reversed(tried)), min))[::-1]
    ends = [a.end_ns for a in tried]

    def of_the_service(gap: Span) -> Span:
        place = bisect.bisect_right(ends, gap.start_ns)
        if not pace_ns or place == len(ends):
            return gap
        return Span(min(gap.end_ns, max(gap.start_ns, earliest[place] - pace_ns)), gap.end_ns)

    def caused(gap: Span) -> bool:
        near = any(
            gap.start_ns <= step.end_ns + STEP_REACH_NS and gap.end_ns >= step.start_ns
            for step in steps
        )
        inside = bisect.bisect_left(failed, gap.end_ns) - bisect.bisect_left(failed, gap.start_ns)
        return gap.end_ns > first and (near or inside > 0)

    pairs = (Span(a, b) for a, b in itertools.pairwise([start_ns, *instants, end_ns]))
    gaps = filter(caused, map(of_the_service, pairs))
    longest = max(gaps, key=lambda gap: gap.end_ns - gap.start_ns, default=None)
    return longest or Span(first, first)


def failures(attempts: Sequence[Attempt]) -> dict[str, int]:
    """How many new connections failed, by outcome."""
    counts: dict[str, int] = {}
    for attempt in attempts:
        if attempt.outcome != OK:
            counts[attempt.outcome] = counts.get(attempt.outcome, 0) + 1
    return counts


def served_by(attempts: Sequence[Attempt]) -> dict[str, int]:
    """How many new connections each node served, by its name; "" = unknown."""
    counts: dict[str, int] = {}
    for attempt in attempts:
        if attempt.outcome == OK:
            counts[attempt.node] = counts.get(attempt.node, 0) + 1
    return dict(sorted(counts.items()))
