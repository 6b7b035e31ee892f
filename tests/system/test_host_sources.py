"""What the kernel says of the proxy's surroundings, checked against what is known."""

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from random import Random

import pytest

from haman.core.resources import GroupCpu, GroupMemory
from haman.system.cgroup import LOOK_NS, ControlGroups
from haman.system.conntrack import Conntrack
from haman.system.inet_diag import InetDiag, SockDiagError
from haman.system.netdev import BYTES_PER_MBIT, Interfaces, Overflows, SocketTotals, speed
from haman.system.netns import is_own, open_inside
from haman.system.portrange import PortRange
from haman.system.pressure import HostMemory
from haman.system.sockdiag import SockDiag, crowded
from haman.system.softirq import Interrupts
from tests.engine.net import Namespace, wait
from tests.system.groups import quota_group

HERE = os.getpid()


def listener(diag: SockDiag, port: int):
    (found,) = [each for each in diag.listeners() if each.port == port]
    return found


def counted(diag: SockDiag, lowest: int, highest: int):
    *_, last = diag.crowds(lowest, highest)
    return crowded(last)


@pytest.mark.parametrize(
    ("family", "host", "shown"),
    [(socket.AF_INET, "127.0.0.1", "127.0.0.1"), (socket.AF_INET6, "::1", "[::1]")],
)
def test_an_accept_queue_is_what_waits_in_it(family, host, shown) -> None:
    with (
        closing(SockDiag()) as diag,
        socket.create_server((host, 0), family=family, backlog=9) as server,
    ):
        port = server.getsockname()[1]
        found = listener(diag, port)
        assert (found.address, found.waiting, found.backlog) == (f"{shown}:{port}", 0, 9)
        assert found.inode == os.fstat(server.fileno()).st_ino
        with ExitStack() as clients:
            for _ in range(5):
                clients.enter_context(socket.create_connection((host, port)))
            # The last packet of a handshake may be on its way when the client is connected already.
            wait(lambda: listener(diag, port).waiting == 5)
            server.accept()[0].close()
            assert listener(diag, port).waiting == 4


@pytest.mark.parametrize("address", ["127.83.7.2", "::1"])
def test_whether_anybody_listens_on_a_port(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with closing(InetDiag()) as diag, socket.create_server((address, 0), family=family) as server:
        port = server.getsockname()[1]
        client = socket.create_connection((address, port))
        with client, server.accept()[0]:
            assert diag.listens(port)
            server.close()
            assert not diag.listens(port)  # there are connections, and that is another thing


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_connections_to_an_address_are_told_with_their_sockets_until_they_only_wait(family) -> None:
    address = "127.83.7.1" if family == socket.AF_INET else "::1"
    with closing(InetDiag()) as diag, socket.create_server((address, 0), family=family) as server:
        local = server.getsockname()[1]

        def found() -> dict[int, tuple[bytes, bool]]:
            each = diag.connections(address)
            return {
                int.from_bytes(c[-4:-2], "big"): (cookie, served)
                for c, cookie, served in each
                if int.from_bytes(c[-2:], "big") == local
            }

        clients = [socket.create_connection((address, local)) for _ in range(2)]
        ports = [client.getsockname()[1] for client in clients]
        served = [server.accept()[0] for _ in clients]
        both = found()
        assert both.keys() == set(ports)
        assert len({cookie for cookie, _ in both.values()}) == 2
        assert found() == both, "a socket is the same at each look"
        # Whoever closes first waits: the server's end for its client's, then in TIME_WAIT.
        served[0].close()
        wait(lambda: found()[ports[0]][1] is False)
        clients[0].close()
        wait(lambda: found().keys() == {ports[1]})
        clients[1].close()
        served[1].close()
        wait(lambda: found() == {})


def own_ports(count: int) -> range:
    """Local ports that nobody else uses, outside of the kernel's choice."""
    base = Random().randrange(10_000, 30_000)
    return range(base, base + count)


def connected(port: int, local: int, family: int = socket.AF_INET) -> socket.socket:
    host = "127.0.0.1" if family == socket.AF_INET else "::ffff:127.0.0.1"
    client = socket.socket(family)
    client.bind((host, local))
    client.connect((host, port))
    return client


def test_local_ports_are_counted_by_destination_time_wait_included() -> None:
    locals_ = own_ports(30)
    with closing(SockDiag()) as diag, ExitStack() as opened:
        server = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        port = server.getsockname()[1]
        for i, local in enumerate(locals_):
            client = opened.enter_context(connected(port, local))
            accepted = opened.enter_context(server.accept()[0])
            if i < 10:
                client.close()  # this side has it in TIME_WAIT
                assert accepted.recv(1) == b""
                accepted.close()
        worst = counted(diag, locals_[0], locals_[-1])
        assert worst is not None
        assert (worst.source, worst.destination) == ("127.0.0.1", f"127.0.0.1:{port}")
        assert worst.sockets == 30
        # Accepted sockets have the server's port, and the kernel leaves out what is not in range.
        part = counted(diag, locals_[5], locals_[14])
        assert part is not None
        assert part.sockets == 10
        assert counted(diag, 1, 1) is None


def test_ipv4_in_ipv6_is_the_same_destination() -> None:
    locals_ = own_ports(2)
    with closing(SockDiag()) as diag, ExitStack() as opened:
        server = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = server.getsockname()[1]
        opened.enter_context(connected(port, locals_[0]))
        opened.enter_context(connected(port, locals_[1], socket.AF_INET6))
        worst = counted(diag, locals_[0], locals_[-1])
        assert worst is not None
        assert (worst.destination, worst.sockets) == (f"127.0.0.1:{port}", 2)


def test_the_ports_of_the_kernel_s_choice() -> None:
    with closing(PortRange()) as ranges:
        lowest, highest = ranges.read()
    assert 0 < lowest < highest < 65536


def test_a_walk_that_was_given_up_disturbs_no_later_one() -> None:
    with closing(SockDiag()) as diag, socket.create_server(("127.0.0.1", 0)) as server:
        next(iter(diag.crowds(1024, 65535)))
        assert listener(diag, server.getsockname()[1]).waiting == 0


def test_what_the_kernel_refuses_is_told() -> None:
    diag = SockDiag()
    diag.close()
    with pytest.raises(SockDiagError, match="sock_diag"):
        diag.listeners()


def test_socket_totals_and_overflows() -> None:
    with closing(SocketTotals(HERE)) as totals, closing(Overflows(HERE)) as overflows:
        before, dropped = totals.sample(), overflows.sample()
        with socket.create_server(("127.0.0.1", 0), backlog=1) as server, ExitStack() as clients:
            # Those of others on this host end at any time: more of one's own than end at once.
            with ExitStack() as many:
                for _ in range(200):
                    many.enter_context(socket.create_server(("127.0.0.1", 0)))
                assert totals.sample() >= before + 1
            for _ in range(6):
                client = clients.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(server.getsockname())
            end = time.monotonic() + 10
            while overflows.sample() == dropped:
                assert time.monotonic() < end
                time.sleep(0.01)


def test_memory_of_the_host() -> None:
    with closing(HostMemory()) as memory:
        total, available = memory.sizes()
        assert 0 < available < total
        assert total == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        stalled = memory.stalled_ns()
        assert stalled is None or stalled >= 0


def test_a_kernel_without_pressure_tells_none(tmp_path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 100 kB\nMemFree: 3 kB\nMemAvailable: 40 kB\n")
    with closing(HostMemory(str(tmp_path))) as memory:
        assert memory.sizes() == (102_400, 40_960)
        assert memory.stalled_ns() is None
        (tmp_path / "meminfo").write_text("MemTotal: 100 kB\nMemFree: 3 kB\n")
        with pytest.raises(ValueError, match="MemAvailable"):
            memory.sizes()


def test_interrupts_by_cpu(tmp_path) -> None:
    with closing(Interrupts()) as interrupts:
        now = interrupts.sample(7)
        assert set(now.busy_ns) == set(range(len(now.busy_ns)))
        assert len(now.busy_ns) == os.sysconf("SC_NPROCESSORS_ONLN")
    (tmp_path / "net").mkdir()
    (tmp_path / "stat").write_text(
        "cpu  1 2 3 4 5 6 7 8\ncpu0 1 0 1 9 0 10 20 0 0 0\ncpu3 0 0 0 0 0 1 2 0\nintr 5\n"
    )
    (tmp_path / "net/softnet_stat").write_text("00ff 00000010 0\n00ff 00000001 0\n")
    with closing(Interrupts(str(tmp_path))) as interrupts:
        tick_ns = 10**9 // os.sysconf("SC_CLK_TCK")
        now = interrupts.sample(7)
        assert (now.busy_ns, now.dropped) == ({0: 30 * tick_ns, 3: 3 * tick_ns}, 17)


def test_only_hardware_has_a_speed(tmp_path) -> None:
    for name, said in (("eth0", "10000\n"), ("veth0", "10000\n"), ("eth1", "-1\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "speed").write_text(said)
        if name.startswith("eth"):
            (tmp_path / name / "device").mkdir()
    assert speed("eth0", str(tmp_path)) == 10_000 * BYTES_PER_MBIT
    assert speed("veth0", str(tmp_path)) is None
    assert speed("eth1", str(tmp_path)) is None
    assert speed("eth9", str(tmp_path)) is None


def v2(folder: Path, path: str = "/a/b") -> str:
    """A control group tree of version 2 and the /proc that leads to it."""
    mount = folder / "cgroup"
    groups = {
        "": {"cpu.stat": "usage_usec 5\n"},
        "a": {
            "cpu.max": "200000 100000\n",
            "cpu.stat": "usage_usec 900\nnr_periods 9\nnr_throttled 3\n",
            "memory.max": "max\n",
        },
        "a/b": {
            "cpu.max": "max 100000\n",
            "cpu.stat": "usage_usec 1\nnr_periods 0\nnr_throttled 0\n",
            "memory.max": "5000\n",
            "memory.current": "4000\n",
            "memory.stat": "anon 1\ninactive_file 1500\n",
        },
    }
    for name, files in groups.items():
        (mount / name).mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (mount / name / file).write_text(text)
    proc = folder / "proc"
    (proc / "7").mkdir(parents=True)
    (proc / "self").mkdir()
    (proc / "7/cgroup").write_text(f"0::{path}\n")
    (proc / "self/mountinfo").write_text(
        f"31 23 0:28 / {mount} rw,relatime shared:9 - cgroup2 cgroup2 rw\n"
    )
    return str(proc)


def test_limits_of_every_group_on_the_way_up_v2(tmp_path) -> None:
    with closing(ControlGroups(7, v2(tmp_path))) as groups:
        assert groups.cpu(0) == (GroupCpu("/a", 2.0, 900_000, 9, 3),)
        assert groups.memory(0) == (GroupMemory("/a/b", 2500, 5000),)
        (tmp_path / "cgroup/a/cpu.max").write_text("50000 100000\n")
        assert groups.cpu(LOOK_NS - 1)[0].quota_cores == 2.0
        assert groups.cpu(LOOK_NS)[0].quota_cores == 0.5
        (tmp_path / "cgroup/a/cpu.max").write_text("max 100000\n")
        assert groups.cpu(2 * LOOK_NS) == ()


@pytest.mark.parametrize("path", ["/../elsewhere", "/gone"])
def test_a_group_that_is_not_mounted_here_limits_nothing_that_is_known(tmp_path, path) -> None:
    with closing(ControlGroups(7, v2(tmp_path, path))) as groups:
        assert groups.cpu(0) == ()
        assert groups.memory(0) == ()


def test_a_process_that_is_gone(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        ControlGroups(8, v2(tmp_path))


@pytest.mark.privileged
def test_a_real_quota_and_its_throttling() -> None:
    busy = "while True: pass"
    with (
        quota_group(20_000) as group,
        subprocess.Popen([sys.executable, "-S", "-c", busy]) as process,
    ):
        try:
            (group / "cgroup.procs").write_text(str(process.pid))
            with closing(ControlGroups(process.pid)) as groups:
                (found,) = [g for g in groups.cpu(0) if g.group == f"/{group.name}"]
                assert found.quota_cores == 0.2
                end = time.monotonic() + 10
                while found.throttled < 5:
                    assert time.monotonic() < end
                    time.sleep(0.02)
                    (found,) = [g for g in groups.cpu(0) if g.group == f"/{group.name}"]
                assert found.periods >= found.throttled
        finally:
            process.kill()
            process.wait()


@pytest.mark.privileged
def test_sources_of_another_network_namespace() -> None:
    namespace = Namespace()
    try:
        pid = namespace.holder.pid
        assert not is_own(pid)
        assert is_own(HERE)
        namespace.run(
            "ip link set lo up; echo '40000 40099' > /proc/sys/net/ipv4/ip_local_port_range"
        )
        with socket.create_server(("127.0.0.1", 0)) as outside, namespace.inside():
            inside = socket.create_server(("127.0.0.1", 0), backlog=3)
        with inside, closing(open_inside(pid, SockDiag)) as diag:
            ports = {each.port for each in diag.listeners()}
            assert ports == {inside.getsockname()[1]}
            assert outside.fileno() == -1
        with closing(open_inside(pid, PortRange)) as ranges:
            assert ranges.read() == (40000, 40099)
        with closing(PortRange()) as ranges:
            assert ranges.read() != (40000, 40099)
        with closing(Interfaces(pid, own_namespace=False)) as interfaces:
            found = interfaces.sample(0).interfaces
            assert all(each.speed is None for each in found)
        with closing(SocketTotals(pid)) as totals:
            assert totals.sample() <= 1
        assert is_own(HERE)
    finally:
        namespace.close()


def test_a_namespace_of_nobody() -> None:
    with pytest.raises(FileNotFoundError):
        open_inside(2**22 + 1, SockDiag)


@pytest.mark.skipif(
    not Path("/proc/sys/net/netfilter/nf_conntrack_count").exists(),
    reason="nothing is tracked here",
)
def test_conntrack() -> None:
    with closing(Conntrack()) as conntrack:
        found = conntrack.sample(7)
        assert found.limit == int(Path("/proc/sys/net/netfilter/nf_conntrack_max").read_text())
        assert 0 <= found.count <= (found.limit or 1)
