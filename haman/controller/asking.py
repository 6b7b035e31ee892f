"""Asking the proxy for its counters, in a task of its own: a socket that hangs delays nothing else.

An answer is believed only if a process of this proxy gave it; the process is the epoch of its
counters.
"""

from collections import Counter
from collections.abc import Callable
from os import sched_getaffinity

from haman.controller.ports import Clock
from haman.controller.ticker import Ticker
from haman.controller.watch import ProcessWatch
from haman.core.arrivals import Accepted, Arrivals
from haman.core.processes import ProcessId
from haman.core.resources import CountersSampled, Reading, SourceFailed
from haman.proxies.adapter import Adapter
from haman.proxies.answers import Answer, Unavailable
from haman.proxies.process import ProcessSet

SERVED_MIN = 2
"""Fewer may have been probes of our own, counted late."""
SILENT_ANSWERS = 3
"""Questions without an answer before the operator is told: one can be lost to a busy moment."""
TOLD = ("tls", "connections")


class Asking:
    """Questions to one adapter.

    Args:
        take: called with every reading.
        own_connections: how many connections haman opened to the proxy otherwise, ever.
        asked: called after each question, answered or not.
        counters: cumulative, shared with the other senses.
    """

    def __init__(
        self,
        adapter: Adapter,
        *,
        processes: ProcessSet,
        watch: ProcessWatch,
        clock: Clock,
        take: Callable[[Reading], None],
        own_connections: Callable[[], int],
        asked: Callable[[], None],
        counters: Counter[str],
        arrivals: Arrivals,
    ) -> None:
        self._adapter = adapter
        self._processes = processes
        self._watch = watch
        self._clock = clock
        self._take = take
        self._own_connections = own_connections
        self._asked = asked
        self._counters = counters
        self._arrivals = arrivals
        self._asked_connections = 0
        self._answered_by: ProcessId | None = None
        self._unanswered = 0
        self._unavailable: Unavailable | None = None
        self._answer: Answer | None = None

    async def close(self) -> None:
        """Give back what the adapter keeps between questions."""
        await self._adapter.close()

    async def run(self, interval_s: float) -> None:
        """Ask until cancelled."""
        ticker = Ticker(max(interval_s, self._adapter.interval_s))
        while True:
            answer = await self._adapter.ask()
            if isinstance(answer, Answer):
                answer = self._accept(answer)
            if isinstance(answer, Unavailable):
                self._missed(answer)
            self._asked()
            await ticker.tick()

    @property
    def silence(self) -> str:
        """Why there were no answers for a while; "" if there are."""
        if self._unavailable is None or self._unanswered < SILENT_ANSWERS:
            return ""
        return f"{self._unavailable.text} ({self._unanswered} times in a row)"

    @property
    def version(self) -> str:
        """Of the proxy, "" before it said so."""
        return self._answer.version if self._answer else ""

    @property
    def missing(self) -> dict[str, str]:
        """By resource, why something about it is not told."""
        return self._answer.missing if self._answer else {}

    @property
    def latest(self) -> Answer | None:
        """The last answer; None before the first."""
        return self._answer

    def served_since(self, answer: Answer | None, *, tls: bool) -> int:
        """New clients between an earlier `latest` answer and the one now; 0 if it cannot be told.

        Args:
            answer: what `latest` was.
            tls: count finished handshakes, not connections: a proxy may accept and go no further.
        """
        if answer is None or self._answer is None or answer.pid != self._answer.pid:
            return 0
        before, now = _served(answer, tls=tls), _served(self._answer, tls=tls)
        if before is None or now is None or now - before < SERVED_MIN:
            return 0
        return now - before

    @property
    def fds(self) -> tuple[int | None, int | None]:
        """Descriptors and their limit, by the proxy's own word; None when it did not answer."""
        if self._answer is None or self._unanswered:
            return None, None
        return self._answer.fds, self._answer.fd_limit

    def _missed(self, answer: Unavailable) -> None:
        self._counters[f"stats_unavailable:{answer.code}"] += 1
        self._unanswered += 1
        self._unavailable = answer
        now_ns = self._clock.monotonic_ns()
        for resource in TOLD:
            self._take(SourceFailed(now_ns, resource, answer.text))

    def _accept(self, answer: Answer) -> Answer | Unavailable:
        """Believe an answer only from a process of this proxy; a new one may not be known yet."""
        epoch = self._epoch(answer)
        if epoch is None:
            who = "somebody" if answer.pid is None else f"process {answer.pid}"
            text = f"{self._adapter.source}: {who} answered, which is not of this proxy"
            return Unavailable("stranger", f"{text} ({self._processes.source})")
        if self._answered_by not in (None, epoch) and self._answered_by in self._processes.members:
            self._counters["proxy_reloads"] += 1
        self._answered_by = epoch
        self._counters["stats_answers"] += 1
        self._unanswered = 0
        self._answer = answer
        now_ns = self._clock.monotonic_ns()
        if answer.accepted is not None:
            self._asked_connections += answer.own_accepted
            own = self._own_connections() + self._asked_connections
            self._arrivals.add(Accepted(now_ns, epoch, answer.accepted, own))
        self._take(
            CountersSampled(
                at_ns=now_ns,
                epoch=epoch,
                full=answer.full,
                resumed=answer.resumed,
                threads=_usable(answer.threads, epoch.pid),
                connections=answer.connections,
                connections_limit=answer.connections_limit,
                accepted=answer.accepted,
                failed=answer.failed,
                queue=answer.queue,
                pool_failed=answer.pool_failed,
                begun=answer.begun,
            )
        )
        for resource, why in answer.missing.items():
            self._take(SourceFailed(now_ns, resource, why))
        return answer

    def _epoch(self, answer: Answer) -> ProcessId | None:
        """The process whose counters these are; None if it is not of this proxy."""
        if answer.pid is None:
            return self._processes.eldest
        if not answer.stopping and not self._processes.confirm(answer.pid):
            self._watch.look(wide=True)
            self._processes.confirm(answer.pid)
        return next((p for p in self._processes.members if p.pid == answer.pid), None)


def _served(answer: Answer, *, tls: bool) -> int | None:
    if not tls:
        return answer.accepted
    if answer.full is None or answer.resumed is None:
        return None
    return answer.full + answer.resumed


def _usable(threads: int | None, pid: int) -> int | None:
    """Threads cannot do more than the CPUs that they may run on."""
    if threads is None:
        return None
    try:
        return min(threads, len(sched_getaffinity(pid)))
    except ProcessLookupError:
        return threads
