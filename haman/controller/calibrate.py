"""What a handshake costs the local proxy, measured without saturating it.

Bursts of handshakes, full and resumed in turn, with pauses of DUTY between them, so that the proxy
never works more than a fraction of the time; and the proxy's CPU time from the scheduler before and
after each. It costs some hundred handshakes, as many as a busy node does in a blink.
"""

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from haman.config.model import Proxy
from haman.controller.handshakes import Handshake, HandshakeFailed, TlsClient
from haman.core.calibration import HandshakeCost
from haman.core.certificates import describe, fingerprint
from haman.core.frozen import dataclass
from haman.core.handshake_cost import Burst, Cost, cost, idle_cores
from haman.core.processes import ProcessGone
from haman.proxies.process import ProcessSet
from haman.system.procfs import ProcessReader, ProcFs

BURST = 16
DUTY = 4
"""Pauses, as a multiple of the bursts before: the proxy works a fifth of the time at most."""
PAUSE_LEAST_S = 0.02
SETTLE_S = 0.005
"""After a burst, for what the proxy still does with its last connection."""
BUSY_CORES = 0.2
"""Above this the proxy's own work drowns the measurement."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Costs of one listener, certificate and protocol.

    Attributes:
        resumed: None where the server resumes no sessions.
        idle: what the proxy spent anyway, in cores.
    """

    handshake: HandshakeCost
    full: Cost
    resumed: Cost | None
    idle: float


@dataclass(frozen=True, slots=True)
class NotMeasured:
    """Why there is no figure, and what to do about it."""

    text: str


Progress = Callable[[int, int, str], None]
"""Told rounds done, rounds in all, and what was found so far."""


class ProxyCpu:
    """CPU time of all processes of the proxy."""

    def __init__(self, readers: list[ProcessReader]) -> None:
        self._readers = readers

    def spent_ns(self) -> int | None:
        """Of all threads together, since their start; None if a process has ended."""
        total = 0
        for reader in self._readers:
            sample = reader.sample()
            if isinstance(sample, ProcessGone):
                return None
            total += sum(sample.cpu_ns.values())
        return total


@contextmanager
def proxy_cpu(proxy: Proxy) -> Iterator[ProxyCpu | NotMeasured]:
    """The CPU time of the configured proxy, or why it cannot be read."""
    table = ProcFs()
    name = proxy.process or ("" if proxy.kind == "process" else proxy.kind)
    processes = ProcessSet(table, pidfile=proxy.pidfile, name=name)
    processes.look()
    opened = [table.open(process) for process in processes.members]
    readers = [reader for reader in opened if isinstance(reader, ProcessReader)]
    try:
        if readers:
            yield ProxyCpu(readers)
        else:
            yield NotMeasured(f"no process of the proxy is alive ({processes.source})")
    finally:
        for reader in readers:
            reader.close()


class _EndedError(Exception):
    """A process of the proxy ended, or a handshake failed, under the measurement."""


class Paced:
    """One measurement.

    Args:
        address: of the listener, on this node.
        client: makes the handshakes.
        cpu: of the proxy behind the listener.
        rounds: bursts of each kind.
    """

    def __init__(self, address: str, client: TlsClient, cpu: ProxyCpu, rounds: int) -> None:
        self._address = address
        self._client = client
        self._cpu = cpu
        self._rounds = rounds
        self._full: list[Burst] = []
        self._resumed: list[Burst] = []
        self._pauses: list[Burst] = []

    def run(self, progress: Progress) -> Measured | NotMeasured:
        """Measure; takes some seconds, and blocks."""
        try:
            return self._run(progress)
        except _EndedError as error:
            return NotMeasured(str(error))

    def _run(self, progress: Progress) -> Measured | NotMeasured:
        first = self._shake(None)
        session = first.session
        resumes = session is not None and self._shake(session).resumed
        self._pause(10 * PAUSE_LEAST_S)
        if (idle := idle_cores(self._pauses)) > BUSY_CORES:
            return NotMeasured(
                f"the proxy is busy with {idle:.2f} cores of other work, in which single handshakes"
                " drown: drain the node first, or measure at a quieter time"
            )
        for done in range(1, self._rounds + 1):
            spent_ns = self._burst(self._full, None)
            if resumes:
                spent_ns += self._burst(self._resumed, session)
            self._pause(max(PAUSE_LEAST_S, DUTY * spent_ns / 1e9))
            progress(done, self._rounds, self._words())
        return self._measured(first)

    def _measured(self, first: Handshake) -> Measured | NotMeasured:
        idle = idle_cores(self._pauses)
        full, resumed = cost(self._full, idle), cost(self._resumed, idle)
        if full is None:
            return NotMeasured(
                f"{self._address}: handshakes cost the processes of the proxy nothing: is this"
                " address theirs (proxy.probe.address), and proxy.pidfile right?"
            )
        for kind, found in (("full", full), ("resumed", resumed)):
            if found is not None and not found.steady:
                return NotMeasured(
                    f"{kind} handshakes cost {found.s * 1e6:.0f} µs, but the middle half of the"
                    f" bursts spreads over {100 * found.spread:.0f} % of that: something else runs on"
                    " this host; try again, or with more --rounds"
                )
        return Measured(
            HandshakeCost(
                address=self._address,
                certificate=describe(first.certificate),
                protocol=first.protocol,
                full_s=full.s,
                resumed_s=min(resumed.s, full.s) if resumed else full.s,
                handshakes=full.handshakes + (resumed.handshakes if resumed else 0),
                fingerprint=fingerprint(first.certificate),
            ),
            full,
            resumed,
            idle,
        )

    def _words(self) -> str:
        idle = idle_cores(self._pauses)
        told = [
            f"{kind} {found.s * 1e6:.0f} µs"
            for kind, bursts in (("full", self._full), ("resumed", self._resumed))
            if (found := cost(bursts, idle)) is not None
        ]
        return ", ".join(told)

    def _burst(self, into: list[Burst], session: ssl.SSLSession | None) -> int:
        """A burst of one kind; how long it took, in ns."""

        def shake() -> int:
            made = self._client.batch(self._address, [session] * BURST)
            if isinstance(made, HandshakeFailed):
                raise _EndedError(made.text)
            time.sleep(SETTLE_S)
            return sum(one.resumed is (session is not None) for one in made)

        burst = self._timed(shake)
        if burst.handshakes == BURST:  # else the server mixed the kinds: no measurement
            into.append(burst)
        return burst.wall_ns

    def _pause(self, seconds: float) -> None:
        def wait() -> int:
            time.sleep(seconds)
            return 0

        self._pauses.append(self._timed(wait))

    def _timed(self, work: Callable[[], int]) -> Burst:
        cpu_before, before_ns = self._cpu.spent_ns(), time.monotonic_ns()
        handshakes = work()
        cpu_after, after_ns = self._cpu.spent_ns(), time.monotonic_ns()
        if cpu_before is None or cpu_after is None:
            raise _EndedError("a process of the proxy ended meanwhile; was it reloaded?")
        return Burst(handshakes, cpu_after - cpu_before, after_ns - before_ns)

    def _shake(self, session: ssl.SSLSession | None) -> Handshake:
        made = self._client.handshake(self._address, session)
        if isinstance(made, HandshakeFailed):
            raise _EndedError(made.text)
        return made
