"""hol and accept_queue: how long a new client waits, in seconds.

hol is what the TLS probe waited, or what the queue of runnable tasks lets expect: while handshakes
are most of what the threads do, queue ÷ handshakes per second (Little's law, which held to within a
tenth in a storm); else each task is taken for a full handshake, which errs upwards.

accept_queue is what the kernel has taken and the proxy has not: connections ÷ accepted per second,
against the clients' timeout, since beyond it every accepted client is a dead one; or how full the
fullest queue is, if that is nearer its end. HAProxy accepts eagerly, so that its queue stays empty in
an overload by TLS; it grows at maxconn, under a rate limit, and in the metastable trap.
"""

from collections.abc import Iterator
from math import exp

from haman.core.resources.findings import COUNT, NS_PER_S, SECONDS, Finding, measured
from haman.core.resources.readings import (
    CountersSampled,
    ListenQueue,
    ProbeTimed,
    ProbeTimedOut,
    QueuesSampled,
)
from haman.core.resources.tls import MOSTLY, TlsMeter
from haman.core.words import Confidence, Utilization

DELAY_MAX_S = 3600.0
MEMORY_S = 1.0
STANDSTILL_PER_S = 0.5
"""A mean below it is what is left of the time when clients were still accepted."""


def probed(now: ProbeTimed | ProbeTimedOut, slo_s: float | None) -> Finding:
    """What the probe waited, against the longest that it should."""
    timed_out = isinstance(now, ProbeTimedOut)
    waited_s = now.waited_s if isinstance(now, ProbeTimedOut) else now.latency_s
    return Finding(
        now.at_ns,
        "probe",
        Utilization(
            "hol",
            waited_s,
            slo_s,
            SECONDS,
            Confidence.DEFAULT,
            detail="the probe's answer",
            origin="proxy.probe.timeout_ms" if slo_s else "",
            problem="" if slo_s else "nothing says how long a client may wait",
        ),
        hard=f"the probe had no answer in {waited_s:g} s" if timed_out else "",
    )


def queued(now: CountersSampled, tls: TlsMeter, client_timeout_s: float) -> Iterator[Finding]:
    """What the run queue lets expect, against the clients' timeout."""
    if now.queue is None or not now.threads:
        return
    rate = now.threads / tls.full_s
    if tls.done_per_s is not None and tls.done_per_s >= MOSTLY * rate:
        rate = tls.done_per_s
    yield Finding(
        now.at_ns,
        "run queue",
        measured(
            "hol",
            min(DELAY_MAX_S, now.queue / rate),
            client_timeout_s,
            detail=f"{now.queue} tasks in the run queue",
            origin="saturation.client_timeout_ms",
        ),
    )


class AcceptMeter:
    """The accept queues of the proxy's listeners, and how fast it empties them."""

    def __init__(self, stale_ns: int, client_timeout_s: float) -> None:
        self._stale_ns = stale_ns
        self._client_timeout_s = client_timeout_s
        self._counters: CountersSampled | None = None
        self._overflows: tuple[int, int] | None = None
        self._stuck_ns: int | None = None
        self._accepted_per_s: float | None = None
        self._failed_per_s: float | None = None
        self._mean_per_s: float | None = None
        self._delay: tuple[int, float | None] = (0, None)
        self._room: tuple[int, int, int] | None = None

    def now(self, now_ns: int) -> tuple[float | None, float | None, float | None]:
        """Seconds that the last client in the queues will wait; accepted and failed per second.

        None = not known, or not lately.
        """
        at_ns, delay_s = self._delay
        if now_ns - at_ns > self._stale_ns:
            delay_s = None
        if self._counters is None or now_ns - self._counters.at_ns > self._stale_ns:
            return delay_s, None, None
        return delay_s, self._accepted_per_s, self._failed_per_s

    def room(self, now_ns: int) -> tuple[int | None, int]:
        """How many connections the roomiest address queues at most, and does now; None = not known.

        Sockets of one address share its clients. Which address clients use is not told; the others
        (statistics, plain HTTP) mostly have no larger backlog.
        """
        if self._room is None or now_ns - self._room[0] > self._stale_ns:
            return None, 0
        return self._room[1:]

    def counters(self, now: CountersSampled) -> None:
        """Take in how many clients were accepted; a reset or a gap says nothing for one interval."""
        before, self._counters = self._counters, now
        self._accepted_per_s = self._failed_per_s = None
        if before is None or before.epoch != now.epoch:
            self._mean_per_s = None
            return
        took_ns = now.at_ns - before.at_ns
        if not 0 < took_ns <= self._stale_ns:
            return
        self._accepted_per_s = _rate(before.accepted, now.accepted, took_ns)
        self._average(took_ns)
        self._failed_per_s = _rate(before.failed, now.failed, took_ns)

    def _average(self, took_ns: int) -> None:
        """Over a second: a proxy takes clients in by the batch."""
        if self._accepted_per_s is None:
            return
        if self._mean_per_s is None:
            self._mean_per_s = self._accepted_per_s
        weight = 1.0 - exp(-took_ns / NS_PER_S / MEMORY_S)
        self._mean_per_s += weight * (self._accepted_per_s - self._mean_per_s)

    def step(self, now: QueuesSampled) -> Iterator[Finding]:
        """The delay if it can be told, the fill, and overflows."""
        own = [queue for queue in now.queues if queue.own]
        if not own:
            return
        waiting = sum(queue.waiting for queue in own)
        fullest = max(own, key=_fill)
        self._room = (now.at_ns, *_roomiest(own))
        hard = self._overflowed(now, fullest)
        delay_s = self._delay_s(now.at_ns, waiting)
        self._delay = (now.at_ns, delay_s)
        detail = f"{waiting} wait, most at {fullest.address}"
        if delay_s is not None:
            yield Finding(
                now.at_ns,
                "delay",
                measured(
                    "accept_queue",
                    delay_s,
                    self._client_timeout_s,
                    detail=detail,
                    origin="saturation.client_timeout_ms",
                ),
                hard=hard,
            )
            yield Finding(
                now.at_ns,
                "accept queue",
                measured(
                    "hol",
                    delay_s,
                    self._client_timeout_s,
                    detail=f"{waiting} in the accept queue",
                    origin="saturation.client_timeout_ms",
                ),
            )
        yield Finding(
            now.at_ns,
            "fill",
            Utilization(
                "accept_queue",
                fullest.waiting,
                fullest.backlog or None,
                COUNT,
                Confidence.MEASURED,
                detail=fullest.address,
                origin="backlog of the socket",
                problem="" if fullest.backlog else "the socket has no backlog",
            ),
            hard=hard,
        )

    def _overflowed(self, now: QueuesSampled, fullest: ListenQueue) -> str:
        """The kernel counts overflows by namespace: they are the proxy's if no queue is fuller."""
        before, self._overflows = self._overflows, (now.at_ns, now.overflows)
        if before is None or not 0 < now.at_ns - before[0] <= self._stale_ns:
            return ""
        dropped = now.overflows - before[1]
        others = max((_fill(queue) for queue in now.queues if not queue.own), default=0.0)
        if dropped <= 0 or others > _fill(fullest):
            return ""
        return f"{dropped} connections were dropped: the accept queue was full"

    def _delay_s(self, at_ns: int, waiting: int) -> float | None:
        if not waiting:
            self._stuck_ns = None
            return 0.0
        counters = self._counters
        if (
            counters is None
            or self._accepted_per_s is None
            or at_ns - counters.at_ns > self._stale_ns
        ):
            return None
        if self._mean_per_s is not None and self._mean_per_s > STANDSTILL_PER_S:
            self._stuck_ns = None
            return min(DELAY_MAX_S, waiting / self._mean_per_s)
        # Nothing is accepted: they wait at least as long as that has been so.
        self._stuck_ns = at_ns if self._stuck_ns is None else self._stuck_ns
        return min(DELAY_MAX_S, (at_ns - self._stuck_ns) / NS_PER_S)


def _roomiest(queues: list[ListenQueue]) -> tuple[int, int]:
    """Backlog and waiting of the address with the largest backlog of all its sockets."""
    total: dict[str, tuple[int, int]] = {}
    for queue in queues:
        backlog, waiting = total.get(queue.address, (0, 0))
        total[queue.address] = (backlog + queue.backlog, waiting + queue.waiting)
    return max(total.values(), key=lambda each: (each[0], -each[1]))


def _fill(queue: ListenQueue) -> float:
    return queue.waiting / queue.backlog if queue.backlog else 0.0


def _rate(before: int | None, now: int | None, took_ns: int) -> float | None:
    if before is None or now is None or now < before:
        return None
    return (now - before) * NS_PER_S / took_ns
