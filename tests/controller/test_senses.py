"""The senses on a real HAProxy: deaths at once, reloads never, and a bad socket is no fault."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
import pytest

from haman.config.model import (
    Config,
    Node,
    Probe,
    Proxy,
    ResourceThresholds,
    Saturation,
    State,
)
from haman.controller import watch
from haman.controller.senses import Senses, SensesSnapshot
from haman.core.calibration import FILE, Calibration, HandshakeCost, encode
from haman.core.words import Condition, Severity
from tests.proxies.rig import (
    FakeStats,
    Haproxy,
    endless,
    handshake,
    hangs,
    haproxy,
    running,
    says,
    until,
)


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


PROBE: dict[str, object] = {"interval_ms": 50, "timeout_ms": 300}


class HostClock:
    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        return time.time_ns()


class Watched:
    """Senses that run, with every condition they told and when."""

    def __init__(self, config: Config) -> None:
        self.senses = Senses(config, HostClock(), self.changed)
        self.told: list[tuple[Condition, int]] = []

    def changed(self) -> None:
        self.told.append((self.snapshot.condition, time.monotonic_ns()))

    @property
    def snapshot(self) -> SensesSnapshot:
        return self.senses.snapshot()

    @property
    def conditions(self) -> list[str]:
        return [str(condition) for condition, _ in self.told]

    @property
    def alerts(self) -> dict[str, str]:
        return {alert.code: alert.text for alert in self.snapshot.alerts}

    def resource(self, name: str) -> float | None:
        found = [r.used for r in self.snapshot.resources if r.name == name]
        return found[0] if found else None

    async def becomes(self, condition: str) -> None:
        await until(lambda: self.conditions[-1:] == [condition], f"{condition}: {self.conditions}")


@asynccontextmanager
async def sensing(config: Config) -> AsyncIterator[Watched]:
    watched = Watched(config)
    task = asyncio.create_task(watched.senses.run())
    try:
        yield watched
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled(), task.exception()


@pytest.fixture(params=[True, False], ids=["master-worker", "single"])
def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Haproxy]:
    with running(tmp_path, master=request.param) as started:
        yield started


def config(proxy: Haproxy, probe: Probe | None = None, **settings: object) -> Config:
    saturation = {"interval_ms": 50, "hold_s": 0} | settings
    return Config(
        node=Node(name="lb1"),
        proxy=Proxy(
            kind="haproxy", socket=str(proxy.socket), pidfile=str(proxy.pidfile), probe=probe
        ),
        saturation=Saturation(**saturation),  # type: ignore[arg-type]
    )


def tls_probe(proxy: Haproxy, **settings: object) -> Probe:
    return Probe(f"127.0.0.1:{proxy.tls_port}", tls=True, **(PROBE | settings))  # type: ignore[arg-type]


async def settled(watched: Watched, proxy: Haproxy) -> None:
    """In service, with one worker that is known to be it."""
    await watched.becomes("in-service")
    await until(lambda: watched.snapshot.proxy_pids == (proxy.worker,), "one worker serves")
    await until(lambda: watched.resource("tls") is not None, "tls is known")


@haproxy
async def test_a_healthy_proxy(proxy) -> None:
    async with sensing(config(proxy, tls_probe(proxy))) as watched:
        assert watched.snapshot.condition is Condition.STARTING
        await settled(watched, proxy)
        await until(lambda: watched.resource("cpu") is not None)
        snapshot = watched.snapshot
        assert snapshot.proxy_up
        assert snapshot.serving is not None
        assert [process.pid for process in snapshot.serving.processes] == [proxy.worker]
        assert snapshot.serving.port == proxy.tls_port
        assert snapshot.serviceable
        assert snapshot.proxy_version.startswith("2.")
        known = {r.name for r in snapshot.resources if r.utilization is not None}
        everywhere = {"cpu", "fds", "tls", "connections", "hol", "accept_queue", "ports", "memory"}
        assert known >= everywhere
        assert all(
            r.age_ms < 3000 and r.problem == "" for r in snapshot.resources if r.name in everywhere
        )
        assert all(r.problem for r in snapshot.resources if r.name not in known)
        assert snapshot.alerts == ()
        fds = descriptors(proxy.worker)
        assert watched.resource("fds") == pytest.approx(fds, abs=3)


@haproxy
async def test_a_killed_worker_is_told_at_once(proxy, monkeypatch) -> None:
    async with sensing(config(proxy)) as watched:
        await settled(watched, proxy)
        # From the next look on nothing is polled.
        monkeypatch.setattr(watch, "LOOK_S", 60.0)
        monkeypatch.setattr(watch, "CALM_S", 60.0)
        watched.senses._watch.look()
        worker, killed_ns = proxy.worker, time.monotonic_ns()
        os.kill(worker, signal.SIGKILL)
        await watched.becomes("fault")
        assert watched.told[-1][1] - killed_ns < 1_000_000_000
        (reason,) = watched.snapshot.reasons
        assert reason.code == "proxy-died"
        assert watched.snapshot.serving is None
        assert f"process {worker} exited" in reason.text
        assert not watched.snapshot.proxy_up


@haproxy
async def test_a_killed_master_takes_its_worker_along(tmp_path) -> None:
    with running(tmp_path) as proxy:
        async with sensing(config(proxy)) as watched:
            await settled(watched, proxy)
            os.kill(proxy.pid, signal.SIGKILL)
            await watched.becomes("fault")


@haproxy
async def test_a_proxy_that_comes_back_is_found(proxy) -> None:
    async with sensing(config(proxy)) as watched:
        await settled(watched, proxy)
        proxy.stop()
        await watched.becomes("fault")
        proxy.start()
        started_ns = time.monotonic_ns()
        await watched.becomes("in-service")
        assert watched.told[-1][1] - started_ns < 1_000_000_000


@haproxy
async def test_after_a_fault_the_probe_must_rise(proxy) -> None:
    async with sensing(config(proxy, tls_probe(proxy, rise=3))) as watched:
        await settled(watched, proxy)
        proxy.stop()
        await watched.becomes("fault")
        before = watched.snapshot.counters["probe_successes"]
        proxy.start()
        await watched.becomes("in-service")
        assert watched.snapshot.counters["probe_successes"] >= before + 3


@haproxy
async def test_reloads_never_look_like_a_death(proxy) -> None:
    async with sensing(config(proxy, tls_probe(proxy))) as watched:
        await settled(watched, proxy)
        for _ in range(5):
            before = proxy.worker
            await asyncio.to_thread(proxy.reload)
            assert proxy.worker != before
            await settled(watched, proxy)
        assert watched.conditions == ["in-service"]
        assert watched.snapshot.counters["proxy_deaths"] == 0


@haproxy
async def test_a_death_right_after_a_reload_is_one(tmp_path) -> None:
    with running(tmp_path) as proxy:
        async with sensing(config(proxy)) as watched:
            await settled(watched, proxy)
            _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            old = proxy.worker
            await asyncio.to_thread(proxy.reload)
            await until(lambda: watched.snapshot.proxy_pids == (proxy.worker,))
            assert old != proxy.worker
            os.kill(proxy.worker, signal.SIGKILL)
            await watched.becomes("fault")
            writer.close()


@haproxy
async def test_a_stopped_proxy_is_deaf(proxy) -> None:
    async with sensing(config(proxy, tls_probe(proxy, timeout_ms=100, fall=2))) as watched:
        await settled(watched, proxy)
        os.kill(proxy.worker, signal.SIGSTOP)
        await watched.becomes("fault")
        assert "probe failed 2 times in a row" in watched.snapshot.reasons[0].text
        assert watched.snapshot.proxy_up
        os.kill(proxy.worker, signal.SIGCONT)
        await watched.becomes("in-service")


@haproxy
async def test_probes_that_time_out_while_others_are_served_are_no_fault(tmp_path) -> None:
    with running(tmp_path) as proxy, socket.create_server(("127.0.0.1", 0)) as deaf:
        probe = Probe(f"127.0.0.1:{deaf.getsockname()[1]}", tls=True, **PROBE)  # type: ignore[arg-type]
        async with sensing(config(proxy, probe)) as watched:
            await until(lambda: watched.resource("tls") is not None, "tls is known")
            while watched.snapshot.counters.get("probe_failures", 0) < 2 * probe.fall:
                await asyncio.to_thread(handshake, proxy.tls_port)
            assert "fault" not in watched.conditions
            await watched.becomes(
                "fault"
            )  # nobody is served any more, and the probe is not answered


@haproxy
async def test_handshakes_become_load(tmp_path) -> None:
    with running(tmp_path) as proxy:
        low = ResourceThresholds(ceiling=1.0, unit="full/s")
        shown = ResourceThresholds(
            act=False
        )  # a machine that does other things has a busy CPU, too
        settings: dict[str, object] = {"resource": {"tls": low, "cpu": shown}, "dwell_ms": 100}
        async with sensing(config(proxy, None, **settings)) as watched:
            await settled(watched, proxy)
            assert watched.resource("tls") == 0.0
            while "saturated" not in watched.conditions:
                await asyncio.to_thread(handshake, proxy.tls_port)
            (reason,) = watched.snapshot.reasons
            assert reason.code == "saturated"
            assert reason.data["resource"] == "tls"
            assert "fault" not in watched.conditions


@haproxy
async def test_a_calibration_is_taken_up_without_a_restart(tmp_path) -> None:
    with running(tmp_path, master=False) as proxy:
        settled_in = msgspec.structs.replace(config(proxy), state=State(directory=str(tmp_path)))
        async with sensing(settled_in) as watched:

            def confidence() -> list[str]:
                found = watched.snapshot.resources
                return [str(r.confidence) for r in found if r.name == "tls" and r.ceiling]

            await until(lambda: confidence() == ["default"], "tls is known")
            cost = HandshakeCost("127.0.0.1:443", "rsa-2048", "TLSv1.3", 1e-3, 5e-4)
            measured = Calibration(7, "haproxy", (cost,), knee_full_per_s=500)
            (tmp_path / FILE).write_text(encode(measured))
            await until(lambda: confidence() == ["calibrated"], "the calibration is used")


@haproxy
async def test_new_connections_are_those_of_clients(tmp_path) -> None:
    with running(tmp_path) as proxy:
        async with sensing(config(proxy, tls_probe(proxy))) as watched:
            await settled(watched, proxy)
            await until(lambda: watched.snapshot.counters["probe_successes"] >= 10)
            calm = watched.snapshot.new_connections_per_s
            assert calm is not None
            # 20 probes a second are none of them, but for one at the edge of so short a window.
            assert calm < 5
            for _ in range(50):
                assert proxy.answers(proxy.port)
            await until(lambda: (watched.snapshot.new_connections_per_s or 0) > calm + 3)
            proxy.socket.unlink()
            await until(lambda: watched.snapshot.new_connections_per_s is None)


@haproxy
async def test_a_stats_socket_that_vanishes_changes_no_condition(proxy) -> None:
    async with sensing(config(proxy, tls_probe(proxy))) as watched:
        await settled(watched, proxy)
        proxy.socket.unlink()
        await until(lambda: "stats-unavailable" in watched.alerts)
        text = watched.alerts["stats-unavailable"]
        assert f"{proxy.socket}: it does not exist" in text
        assert text.endswith("tls and connections are unknown, in-service is held")
        await until(lambda: watched.resource("tls") is None)
        assert watched.resource("cpu") is not None
        assert watched.snapshot.connections is None
        assert watched.conditions == ["in-service"]


def with_fake(proxy: Haproxy, path: Path) -> Config:
    whole = config(proxy, tls_probe(proxy))
    return msgspec.structs.replace(
        whole, proxy=msgspec.structs.replace(whole.proxy, socket=str(path))
    )


@haproxy
@pytest.mark.parametrize(
    ("behaviour", "code"),
    [(hangs, "timeout"), (endless, "too-long"), (says("garbage"), "malformed")],
    ids=["hangs", "endless", "garbage"],
)
async def test_a_bad_stats_socket_is_no_fault(tmp_path, behaviour, code) -> None:
    with running(tmp_path) as proxy:
        path = tmp_path / "fake"
        async with FakeStats(path, behaviour), sensing(with_fake(proxy, path)) as watched:
            await until(lambda: "stats-unavailable" in watched.alerts)
            await until(lambda: watched.snapshot.counters["samples"] > 20)
            assert watched.conditions == ["in-service"]
            assert watched.snapshot.counters[f"stats_unavailable:{code}"] >= 3
            assert watched.resource("fds") is not None
            os.kill(proxy.worker, signal.SIGKILL)
            await watched.becomes("fault")
            # One death is one alert: that the dead do not answer is no news.
            assert "stats-unavailable" not in watched.alerts


@haproxy
async def test_the_socket_of_another_proxy_is_not_believed(tmp_path) -> None:
    (tmp_path / "other").mkdir()
    with running(tmp_path) as proxy, running(tmp_path / "other") as other:
        async with sensing(with_fake(proxy, other.socket)) as watched:
            await until(lambda: "stats-unavailable" in watched.alerts)
            text = watched.alerts["stats-unavailable"]
            assert f"process {other.worker} answered, which is not of this proxy" in text
            assert watched.resource("tls") is None
            assert watched.conditions == ["in-service"]


async def test_no_proxy_at_all_is_a_fault_at_once(tmp_path) -> None:
    nobody = Config(proxy=Proxy(kind="process", pidfile=str(tmp_path / "none.pid")))
    async with sensing(nobody) as watched:
        await watched.becomes("fault")
        assert watched.snapshot.reasons[0].code == "proxy-not-found"
        assert watched.snapshot.counters["proxy_deaths"] == 0


@contextmanager
def named(name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of this name that waits."""
    code = f"open('/proc/self/comm', 'w').write('{name}'); print(flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def test_a_generic_process_by_name() -> None:
    generic = Config(proxy=Proxy(kind="process", process="h-senses"))
    with named("h-senses") as process:
        async with sensing(generic) as watched:
            await watched.becomes("in-service")
            await until(lambda: watched.resource("cpu") is not None)
            names = {r.name for r in watched.snapshot.resources}
            assert names >= {"cpu", "fds", "memory", "ports"}
            assert not names & {"tls", "connections", "hol"}
            process.kill()
            await watched.becomes("fault")


async def test_a_proxy_that_cannot_be_asked_is_said_so(tmp_path) -> None:
    pidfile = tmp_path / "pid"
    pidfile.write_text(str(os.getpid()))
    envoy = Config(proxy=Proxy(kind="envoy", pidfile=str(pidfile)))
    async with sensing(envoy) as watched:
        await watched.becomes("in-service")
        (alert,) = watched.snapshot.alerts
        assert (alert.code, alert.severity) == ("proxy-partly-sensed", Severity.WARNING)
        assert "proxy.admin is not set" in alert.text
        assert watched.snapshot.alerts == (alert,)  # `since` stays


async def test_nothing_is_left_open(tmp_path) -> None:
    pidfile = tmp_path / "pid"
    pidfile.write_text(str(os.getpid()))
    before = descriptors(os.getpid())
    async with sensing(Config(proxy=Proxy(pidfile=str(pidfile)))) as watched:
        await until(lambda: watched.snapshot.counters.get("samples", 0) > 1)
    assert descriptors(os.getpid()) == before
