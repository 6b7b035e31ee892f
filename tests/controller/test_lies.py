"""What a proxy says of itself and is not so, on a real HAProxy, beside what the senses say then."""

import asyncio
import os
import selectors
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from haman.config.model import ResourceThresholds
from haman.core.words import Utilization
from tests.controller.test_senses import Watched, config, descriptors, sensing, settled
from tests.proxies.rig import Haproxy, handshake, haproxy, running, until
from tests.system.groups import quota_group


def ask(proxy: Haproxy, command: str) -> str:
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect(str(proxy.socket))
        asked.sendall(command.encode() + b"\n")
        answer = b""
        while chunk := asked.recv(65536):
            answer += chunk
    return answer.decode()


def says(proxy: Haproxy, field: str) -> int:
    lines = (line.partition(": ") for line in ask(proxy, "show info").splitlines())
    return int(next(value for name, _, value in lines if name == field))


def sensed(watched: Watched, name: str) -> Utilization | None:
    return next((r for r in watched.snapshot.resources if r.name == name), None)


def ratio(watched: Watched, name: str) -> float:
    found = sensed(watched, name)
    return (found.utilization or 0.0) if found else 0.0


@contextmanager
def handshaking(port: int, clients: int) -> Iterator[None]:
    """Clients that do one full handshake after the other, in processes of their own."""
    command = ["openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-new", "-time", "60"]
    with ExitStack() as started:
        for _ in range(clients):
            client = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            started.callback(client.wait)
            started.callback(client.kill)
        yield


@haproxy
@pytest.mark.privileged
async def test_idle_says_that_there_is_room_while_every_period_is_cut_short(tmp_path) -> None:
    with quota_group(15_000) as group, running(tmp_path) as proxy:
        (group / "cgroup.procs").write_text(str(proxy.worker))
        async with sensing(config(proxy, dwell_ms=60_000)) as watched:
            await settled(watched, proxy)
            with handshaking(proxy.tls_port, 4):
                await watched.becomes("saturated")
                idle = [says(proxy, "Idle_pct") for _ in range(5)]
            (reason, *_) = watched.snapshot.reasons
            assert (reason.code, reason.data["resource"]) == ("exhausted", "cpu")
            assert f"control group /{group.name} was throttled in" in reason.text
            assert max(idle) >= 30  # of a CPU that it was not given


@haproxy
async def test_bare_connections_look_like_resumed_sessions(tmp_path) -> None:
    with running(tmp_path) as proxy:
        async with sensing(config(proxy)) as watched:
            await settled(watched, proxy)
            for _ in range(80):
                assert proxy.answers(proxy.tls_port)
            await until(lambda: says(proxy, "CumSslConns") >= 80)
            assert says(proxy, "SslFrontendSessionReuse_pct") == 100
            before = watched.snapshot.counters["stats_answers"]
            await until(lambda: watched.snapshot.counters["stats_answers"] > before + 3)
            assert watched.resource("tls") == 0


def table_size(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("FDSize:")[2].split()[0])


@haproxy
async def test_the_size_of_the_table_is_not_the_number_of_descriptors(tmp_path) -> None:
    with running(tmp_path) as proxy:
        async with sensing(config(proxy)) as watched:
            await settled(watched, proxy)
            size, opened = table_size(proxy.worker), descriptors(proxy.worker)
            assert size > 2 * opened
            assert watched.resource("fds") == pytest.approx(opened, abs=3)


@haproxy
async def test_pools_see_little_of_what_tls_connections_take(tmp_path) -> None:
    with running(tmp_path) as proxy, ExitStack() as held:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

        def resident() -> int:
            statm = Path(f"/proc/{proxy.worker}/statm").read_text()
            return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE")

        for _ in range(5):  # what is made once is there
            handshake(proxy.tls_port)
        pools, memory = says(proxy, "PoolUsed_bytes"), resident()
        for _ in range(90):
            plain = held.enter_context(socket.create_connection(("127.0.0.1", proxy.tls_port), 5))
            held.enter_context(context.wrap_socket(plain))
        pools, memory = says(proxy, "PoolUsed_bytes") - pools, resident() - memory
        assert memory > 2 * pools
        async with sensing(config(proxy)) as watched:
            await settled(watched, proxy)
            await until(lambda: sensed(watched, "memory") is not None)
            found = sensed(watched, "memory")
            assert found is not None
            assert "MB resident in the proxy" in found.detail


@haproxy
async def test_a_proxy_at_its_limit_says_that_it_is_idle(tmp_path) -> None:
    with running(tmp_path) as proxy, ExitStack() as held:
        async with sensing(config(proxy, client_timeout_ms=1000, dwell_ms=60_000)) as watched:
            await settled(watched, proxy)
            for _ in range(130):
                held.enter_context(socket.create_connection(("127.0.0.1", proxy.port), 5))
            await watched.becomes("saturated")
            assert watched.snapshot.reasons[0].code == "exhausted"
            await until(lambda: ratio(watched, "accept_queue") > 1, "clients wait over a second")
            found = sensed(watched, "accept_queue")
            assert found is not None
            assert f"most at 127.0.0.1:{proxy.port}" in found.detail
            assert says(proxy, "Idle_pct") >= 90


@haproxy
async def test_in_an_overload_by_tls_the_accept_queue_stays_empty(tmp_path) -> None:
    with running(tmp_path) as proxy:
        low = ResourceThresholds(ceiling=20, unit="full/s", act=False)
        settings: dict[str, object] = {"resource": {"tls": low}}
        async with sensing(config(proxy, **settings)) as watched:
            await settled(watched, proxy)
            with handshaking(proxy.tls_port, 4):
                await until(lambda: ratio(watched, "tls") > 1, "handshakes are load")
                assert ratio(watched, "accept_queue") < 0.1


def client_hello() -> bytes:
    """What a client says first."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


class Impatient(threading.Thread):
    """Clients that give up after `patience_s` and come back at once."""

    def __init__(self, port: int, clients: int, patience_s: float) -> None:
        super().__init__()
        self.port, self.clients, self.patience_s = port, clients, patience_s
        self.done = threading.Event()
        self.hello = client_hello()

    def run(self) -> None:
        with selectors.DefaultSelector() as ready:
            born: dict[socket.socket, float] = {}
            while not self.done.is_set():
                while len(born) < self.clients:
                    client = socket.socket()
                    client.setblocking(False)
                    client.connect_ex(("127.0.0.1", self.port))
                    ready.register(client, selectors.EVENT_WRITE)
                    born[client] = time.monotonic()
                for key, _ in ready.select(0.02):
                    assert isinstance(key.fileobj, socket.socket)
                    ready.unregister(key.fileobj)
                    try:
                        key.fileobj.send(self.hello)
                    except OSError:
                        continue
                for client, since in list(born.items()):
                    if time.monotonic() - since > self.patience_s:
                        if client in ready.get_map():
                            ready.unregister(client)
                        del born[client]
                        client.close()
            for client in born:
                client.close()


@haproxy
async def test_the_metastable_trap_is_told_with_advice(tmp_path) -> None:
    with running(tmp_path, master=False) as proxy:
        settings: dict[str, object] = {"client_timeout_ms": 500}
        async with sensing(config(proxy, **settings)) as watched:
            await settled(watched, proxy)
            ask(proxy, "set rate-limit ssl-sessions global 60")
            clients = Impatient(proxy.tls_port, 95, patience_s=0.5)
            clients.start()
            try:
                await until(lambda: "metastable" in watched.alerts, "the alert")
                assert says(proxy, "Idle_pct") >= 50
                text = watched.alerts["metastable"]
                assert "give up after 0.5 s" in text
                assert "Lower the backlog" in text
            finally:
                clients.done.set()
                await asyncio.to_thread(clients.join)
