"""An open-loop load of full handshakes: clients that come by the clock, from several processes.

Latency counts from the instant when a client should have come, so that a client that had to wait
for the generator, or for those before it, is not left out. What is under way is bounded: clients
over the bound count as failed, as they would be.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import quantiles

from haman.config.forms import split_host_port
from haman.core.frozen import dataclass
from haman.core.knee import Knee, Step, knee, rates

CLIENT_TIMEOUT_S = 2.0
UNDER_WAY_MAX = 2000
"""Clients of one process."""
PROCESSES_MAX = 32


@dataclass(frozen=True, slots=True)
class Load:
    """What one process offers for one step."""

    address: str
    server_name: str
    per_s: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it; times in seconds."""

    latencies: tuple[float, ...]
    late: tuple[float, ...]
    failed: int


def offer(load: Load) -> Outcome:
    """Offer a load, in this process."""
    return asyncio.run(_offer(load))


async def _offer(load: Load) -> Outcome:
    host, port = split_host_port(load.address)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    latencies: list[float] = []
    late: list[float] = []
    failed = 0

    async def client(due_s: float) -> None:
        nonlocal failed
        try:
            async with asyncio.timeout(CLIENT_TIMEOUT_S):
                _, writer = await asyncio.open_connection(
                    host, port, ssl=context, server_hostname=load.server_name
                )
        except (OSError, TimeoutError):
            failed += 1
            return
        latencies.append(time.monotonic() - due_s)
        writer.transport.abort()

    begun_s = time.monotonic()
    under_way: set[asyncio.Task[None]] = set()
    for number in range(round(load.per_s * load.seconds)):
        due_s = begun_s + number / load.per_s
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        late.append(time.monotonic() - due_s)
        if len(under_way) >= UNDER_WAY_MAX:
            failed += 1
            continue
        task = asyncio.create_task(client(due_s))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    if under_way:
        await asyncio.wait(under_way)
    return Outcome(tuple(latencies), tuple(late), failed)


def step(outcomes: list[Outcome], seconds: float) -> Step:
    """One step, from what its processes saw."""
    latencies = [s for outcome in outcomes for s in outcome.latencies]
    late = [s for outcome in outcomes for s in outcome.late]
    failed = sum(outcome.failed for outcome in outcomes)
    offered = max(1, len(late))
    return Step(
        offered_per_s=offered / seconds,
        served_per_s=len(latencies) / seconds,
        failed=failed / offered,
        p50_s=_quantile(latencies, 50),
        p99_s=_quantile(latencies, 99),
        late_s=_quantile(late, 99),
    )


def _quantile(values: list[float], percent: int) -> float:
    if len(values) < 2:  # what quantiles want
        return values[0] if values else 0.0
    return quantiles(values, n=100, method="inclusive")[percent - 1]


@dataclass(frozen=True, slots=True)
class Ramp:
    """How to ramp.

    Attributes:
        seconds: of one step.
        limit_s: of all of them; the ramp ends before it.
    """

    address: str
    server_name: str
    start_per_s: float
    most_per_s: float
    seconds: float
    limit_s: float
    processes: int

    def run(self, progress: Callable[[Step], None]) -> tuple[list[Step], Knee]:
        """Ramp until the knee, the highest rate, or the time limit; blocks."""
        steps: list[Step] = []
        end_s = time.monotonic() + self.limit_s
        longest_s = self.seconds + CLIENT_TIMEOUT_S
        with ProcessPoolExecutor(self.processes, mp_context=get_context("spawn")) as pool:
            for rate in rates(self.start_per_s, self.most_per_s):
                if steps and time.monotonic() + longest_s > end_s:
                    return steps, _unreached(steps, f"the time limit of {self.limit_s:g} s")
                part = Load(self.address, self.server_name, rate / self.processes, self.seconds)
                outcomes = list(pool.map(offer, [part] * self.processes))
                steps.append(step(outcomes, self.seconds))
                progress(steps[-1])
                if (found := knee(steps)) is not None:
                    return steps, found
        return steps, _unreached(steps, f"the highest rate, {self.most_per_s:g}/s")


def _unreached(steps: list[Step], what: str) -> Knee:
    return Knee(steps[-1].served_per_s, reached=False, text=f"{what} was reached before the knee")
