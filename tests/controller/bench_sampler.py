"""What sensing costs, and how fast it names a storm: `make bench-sampler`. Bounded: half a minute.

A real HAProxy on one core, with an RSA-4096 certificate so that one client machine can offer more than
it can do, is calibrated first (CPU time per handshake), and then left idle, loaded to 70 % of the knee,
and to twice the ceiling, by clients that come at a fixed rate whatever becomes of those before. It runs
20 tasks at a time, so that its loop is as long as it is with the usual certificates.
"""

# ruff: noqa: T201

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from haman.config.model import Config, Probe, Proxy, Saturation, State
from haman.controller.senses import Senses
from haman.core.calibration import FILE, Calibration, HandshakeCost, encode
from haman.core.resources import TLS_KNEE
from haman.core.words import Condition
from haman.system.procfs import ProcFs
from tests.controller.test_senses import HostClock
from tests.proxies.rig import Haproxy, handshake, wait

FDS = 20_000
IDLE_S, LOAD_S, STORM_S = 4.0, 8.0, 4.0
NS_PER_S = 1_000_000_000

CLIENTS = """
import socket, ssl, sys, threading, time
port, rate, seconds = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
def client():
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as plain:
            with context.wrap_socket(plain) as tls:
                done.append(1)
    except OSError:
        pass
done, begun = [], time.monotonic()
print("begun", flush=True)
for i in range(int(rate * seconds)):
    time.sleep(max(0, begun + i / rate - time.monotonic()))
    threading.Thread(target=client, daemon=True).start()
print(len(done), flush=True)
"""


class OneCore(Haproxy):
    """HAProxy with one thread, on the first CPU, and an expensive certificate."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, master=False)
        command = "openssl req -x509 -newkey rsa:4096 -nodes -keyout - -out - -days 2 -subj /CN=lb"
        made = subprocess.run(command.split(), check=True, capture_output=True, text=True)
        (folder / "tls.pem").write_text(made.stdout)
        text = self.config.read_text().replace(
            "nbthread 2", "nbthread 1\n  cpu-map 1/1 0\n  tune.runqueue-depth 20"
        )
        self.config.write_text(text.replace("maxconn 100", "maxconn 8000"))


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def config(proxy: Haproxy, interval_ms: int, dwell_ms: int) -> Config:
    probe = Probe(f"127.0.0.1:{proxy.tls_port}", tls=True, timeout_ms=900)
    return Config(
        proxy=Proxy("haproxy", socket=str(proxy.socket), pidfile=str(proxy.pidfile), probe=probe),
        saturation=Saturation(interval_ms=interval_ms, dwell_ms=dwell_ms, hold_s=0),
        state=State(directory=str(proxy.folder)),
    )


class Run:
    """Senses, with how long each of their rounds took and what they named."""

    def __init__(self, config: Config) -> None:
        self.named: list[tuple[int, str]] = []
        self.senses = Senses(config, HostClock(), self.changed)
        self.rounds_ms: list[float] = []
        sample: Any = self.senses._sampler.sample

        def timed(*arguments: Any) -> None:
            begun_ns = time.perf_counter_ns()
            sample(*arguments)
            self.rounds_ms.append((time.perf_counter_ns() - begun_ns) / 1e6)

        self.senses._sampler.sample = timed  # type: ignore[method-assign]

    def changed(self) -> None:
        now = self.senses.snapshot()
        if now.condition is Condition.SATURATED:
            self.named.append((time.monotonic_ns(), str(now.reasons[0].text)))

    async def during(self, work: Callable[[], Awaitable[None]]) -> str:
        task = asyncio.create_task(self.senses.run())
        await asyncio.sleep(1.5)
        self.rounds_ms.clear()
        spent_s, begun_s = time.process_time(), time.monotonic()
        await work()
        spent_s, took_s = time.process_time() - spent_s, time.monotonic() - begun_s
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        rounds = self.rounds_ms
        return (
            f"round p50 {percentile(rounds, 0.5):.2f} ms, p99 {percentile(rounds, 0.99):.2f} ms; "
            f"all senses {100 * spent_s / took_s:.2f} % of a core"
        )


async def offer(port: int, rate: float, seconds: float) -> int:
    """Clients at a fixed rate, from the other CPU; returns when the first of them came."""
    others = sorted(os.sched_getaffinity(0))[1:] or [0]
    process = await asyncio.create_subprocess_exec(
        "taskset", "-c", ",".join(map(str, others)), sys.executable, "-c", CLIENTS,
        str(port), str(rate), str(seconds), stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        await process.stdout.readline()
        begun_ns = time.monotonic_ns()
        await asyncio.wait_for(process.wait(), seconds * 4 + 10)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return begun_ns


def calibrated(proxy: Haproxy, handshakes: int = 60) -> float:
    """CPU time of the proxy per handshake, in seconds; as `haman calibrate` would write it."""

    def spent_ns() -> int:
        tasks = Path(f"/proc/{proxy.worker}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)

    before = spent_ns()
    for _ in range(handshakes):
        handshake(proxy.tls_port)
    cost_s = (spent_ns() - before) / handshakes / NS_PER_S
    cost = HandshakeCost(
        f"127.0.0.1:{proxy.tls_port}", "rsa-4096", "TLSv1.3", cost_s, 200e-6, handshakes
    )
    (proxy.folder / FILE).write_text(encode(Calibration(time.time_ns(), "haproxy", (cost,))))
    return cost_s


def count_of_fds() -> str:
    code = f"f = open('/dev/null'); import os; k = [os.dup(f.fileno()) for _ in range({FDS} - 100)]; print(len(k), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        opened = int(process.stdout.readline())
        procfs = ProcFs()
        status: Any = procfs.status(process.pid)
        reader: Any = procfs.open(status.process)
        took = []
        for _ in range(2000):
            begun_ns = time.perf_counter_ns()
            found = reader._count(begun_ns)
            took.append((time.perf_counter_ns() - begun_ns) / 1e3)
        reader.close()
        process.kill()
    return f"{found} descriptors ({opened} opened): p50 {percentile(took, 0.5):.1f} µs, p99 {percentile(took, 0.99):.1f} µs"


async def main() -> None:
    print("fds       ", count_of_fds())
    with tempfile.TemporaryDirectory() as folder:
        proxy = OneCore(Path(folder))
        proxy.start()
        try:
            cost_s = calibrated(proxy)
            knee = TLS_KNEE / cost_s
            print(f"calibrated {cost_s * 1e6:.0f} µs a handshake: knee at {knee:.0f}/s")
            idle = Run(config(proxy, 200, 2000))
            print("idle      ", await idle.during(lambda: asyncio.sleep(IDLE_S)))

            calm = Run(config(proxy, 200, 2000))

            async def load() -> None:
                await offer(proxy.tls_port, 0.7 * knee, LOAD_S)

            print("70 %      ", await calm.during(load), "| named:", calm.named or "never")
            wait(lambda: not handshakes_left(proxy), "the proxy is calm")

            storm, begun = Run(config(proxy, 200, 2000)), [0]

            async def twice() -> None:
                begun[0] = await offer(proxy.tls_port, 2 * knee, STORM_S)

            print("200 %     ", await storm.during(twice))
            for at_ns, text in storm.named[:1]:
                print(f"           named after {(at_ns - begun[0]) / 1e9:.2f} s: {text}")
        finally:
            proxy.stop()


def handshakes_left(proxy: Haproxy) -> bool:
    return not proxy.answers(proxy.tls_port)


if __name__ == "__main__":
    asyncio.run(main())
