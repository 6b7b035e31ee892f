"""Namespaces joined by a bridge, and engines in them.

Each namespace lives as long as a `cat` that reads from a pipe of this process: nothing is left
behind, even if the tests are killed. The root namespace is not touched.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path

from haman.core.announcements import AnycastStance, HeldAddresses
from haman.core.facts import (
    EngineReported,
    EventsReported,
    LatenessReport,
    ServingProxy,
    StancesDeclared,
    TakeoverOrdered,
    VipReport,
    VipStance,
)
from haman.core.handover.messages import HandoverOrder
from haman.core.handover.steering import SteerOrder
from haman.core.words import Event, Role, Stance
from haman.system.link import ControllerEnd
from haman.system.netlink_socket import Requests

HERE = Path(__file__).parent
_libc = ctypes.CDLL(None, use_errno=True)


def wait(condition: Callable[[], object], timeout_s: float = 10.0, what: str = "") -> float:
    """Poll until the condition holds; returns how long that took, in seconds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout_s, f"not within {timeout_s} s: {what}"
        time.sleep(0.002)
    return time.monotonic() - began


class Namespace:
    """A network namespace."""

    def __init__(self) -> None:
        self.holder = subprocess.Popen(
            ["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        own = Path("/proc/self/ns/net").stat().st_ino
        wait(lambda: Path(self.path).stat().st_ino != own, what="a namespace")

    @property
    def path(self) -> str:
        return f"/proc/{self.holder.pid}/ns/net"

    def command(self, *arguments: str) -> list[str]:
        # Killed with the thread that starts it, which is the main one of the tests, unless it changes
        # its user (`tests.leash` holds those that do).
        return ["nsenter", f"--net={self.path}", "setpriv", "--pdeathsig", "KILL", *arguments]

    def run(self, line: str) -> str:
        done = subprocess.run(
            self.command("sh", "-ec", line), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
        return done.stdout

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """This thread is in the namespace; sockets opened here stay there."""
        home, there = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(self.path, 0)
        assert _libc.setns(there, 0x40000000) == 0
        try:
            yield
        finally:
            assert _libc.setns(home, 0x40000000) == 0
            os.close(home)
            os.close(there)

    def close(self) -> None:
        assert self.holder.stdin
        self.holder.stdin.close()
        self.holder.wait(5)


class Host(Namespace):
    """A namespace with `eth0` on the bridge, 10.77.0.N/24, 2001:db8::N/64 and fe80::N/64."""

    def __init__(self, switch: Namespace, number: int) -> None:
        super().__init__()
        self.number = number
        self.address = f"10.77.0.{number}"
        self.run(
            "for c in all default; do echo 0 > /proc/sys/net/ipv6/conf/$c/accept_dad;"
            " echo 0 > /proc/sys/net/ipv6/conf/$c/accept_ra;"
            " echo 1 > /proc/sys/net/ipv6/conf/$c/addr_gen_mode; done"
        )
        switch.run(
            f"ip link add h{number} type veth peer name eth0 netns {self.holder.pid};"
            f"ip link set h{number} master br0 up"
        )
        self.run(
            "ip link set lo up; ip link set eth0 up;"
            f"ip addr add {self.address}/24 brd + dev eth0;"
            f"ip addr add 2001:db8::{number}/64 dev eth0 nodad;"
            f"ip addr add fe80::{number}/64 dev eth0 nodad"
        )
        with self.inside():
            self.requests = Requests()

    def addresses(self) -> set[str]:
        """What the kernel has now, as address/length."""
        return {f"{a.address}/{a.prefix}" for a in self.requests.addresses()}

    def index(self, name: str) -> int:
        return next(link.index for link in self.requests.links() if link.name == name)

    def mac(self, name: str) -> str:
        return next(link.mac for link in self.requests.links() if link.name == name).hex(":")

    def holds(self, address: str) -> bool:
        return address in self.addresses()

    def close(self) -> None:
        self.requests.close()
        super().close()


class Lan:
    """Hosts on one bridge."""

    def __init__(self, hosts: int) -> None:
        self.switch = Namespace()
        self.switch.run(
            "ip link add br0 type bridge mcast_snooping 0; ip link set br0 up;"
            "echo 1 > /proc/sys/net/ipv6/conf/br0/disable_ipv6"
        )
        self.hosts = [Host(self.switch, number) for number in range(11, 11 + hosts)]

    def close(self) -> None:
        for host in self.hosts:
            host.close()
        self.switch.close()


class Agent:
    """An engine in a host, with this process as its controller.

    The engine starts `relay.py` as its controller, which hands every message on to here.
    """

    def __init__(self, host: Host, directory: Path, toml: str, **stances: int | bool) -> None:
        self.host = host
        self.config = directory / f"haman-{host.number}.toml"
        self.config.write_text(toml)
        self.log = directory / f"engine-{host.number}.log"
        self._socket_path = directory / f"relay-{host.number}"
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listening.bind(str(self._socket_path))
        self.listening.listen(1)
        self.listening.setblocking(False)
        self.process: subprocess.Popen[bytes] | None = None
        self.controller: ControllerEnd | None = None
        self.controller_pid = 0
        self.controllers = 0
        self.reading = True
        self.report: EngineReported | None = None
        self.events: list[Event] = []
        self.dropped = 0
        self.generation = 0
        self.stances: tuple[VipStance, ...] = ()
        self.services: tuple[AnycastStance, ...] = ()
        self.exabgp = ""
        self.handovers: tuple[HandoverOrder, ...] = ()
        self.steers: tuple[SteerOrder, ...] = ()
        self.serving: ServingProxy | None = None
        self._declared_at = 0.0

    # ---- process -------------------------------------------------------------------------------

    def start(self, **environment: str) -> "Agent":
        self.report = None
        if self.process is not None:
            self.process.wait(5)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.host.command(
                    sys.executable,
                    str(HERE / "driver.py"),
                    str(self.config),
                    str(self._socket_path),
                ),
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
            )
        return self

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    @property
    def guard_pid(self) -> int:
        return child_named(self.pid, "haman-guard")

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def end(self, number: int = signal.SIGTERM, timeout_s: float = 10) -> int:
        """Signal the engine and wait for its end."""
        self.send(number)
        assert self.process
        wait(self._poll_and_ended, timeout_s, "end of the engine")
        return self.process.returncode

    def _poll_and_ended(self) -> bool:
        assert self.process
        self.poll()
        return self.process.poll() is not None

    def close(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGCONT)
            if self.process.poll() is None:
                self.process.terminate()
                try:
                    self.process.wait(5)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
        if self.controller is not None:
            self.controller.close()
        self.listening.close()

    # ---- controller ----------------------------------------------------------------------------

    def declare(self, *stances: VipStance) -> None:
        self.stances = stances
        self.generation += 1
        self._declared_at = 0.0
        self.poll()

    def announce(self, *held: str, exabgp: str = "") -> None:
        """Declare that these services, and no others, hold their addresses."""
        known = dict.fromkeys([*(s.service for s in self.services), *held])
        self.services = tuple(AnycastStance(n, Stance.FULL, 100, n in held) for n in known)
        self.exabgp = exabgp
        self.declare(*self.stances)

    def contend(self, vip: str = "web", priority: int = 100, **more) -> "Agent":
        self.declare(VipStance(vip, contend=True, priority=priority, **more))
        return self

    def hand(self, *orders: HandoverOrder) -> None:
        """Declare that these handovers, and no others, are under way."""
        self.handovers = orders
        self.declare(*self.stances)

    def steer(self, *orders: SteerOrder) -> None:
        """Declare that these orders for tails of anycast services, and no others, are wanted."""
        self.steers = orders
        self.declare(*self.stances)

    def order(self, vip: str) -> None:
        assert self.controller
        self.controller.order(TakeoverOrdered(vip))

    def poll(self) -> None:
        """Accept a controller, declare now and then, read what came."""
        with contextlib.suppress(BlockingIOError):
            accepted, _ = self.listening.accept()
            credentials = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            self.controller_pid = int.from_bytes(credentials[:4], "little")
            if self.controller is not None:
                self.controller.close()
            self.controller = ControllerEnd(accepted)
            self.controllers += 1
            self._declared_at = 0.0
        if self.controller is None:
            return
        if time.monotonic() - self._declared_at > 0.5 and self.generation:
            self._declared_at = time.monotonic()
            self.controller.declare(
                StancesDeclared(
                    self.generation,
                    self.stances,
                    self.services,
                    self.exabgp,
                    self.handovers,
                    self.steers,
                    self.serving,
                )
            )
        if self.reading:
            self._read(self.controller)

    def _read(self, controller: ControllerEnd) -> None:
        received = controller.receive()
        assert not received.malformed
        for message in received.messages:
            if isinstance(message, EngineReported):
                self.report = message
            elif isinstance(message, EventsReported):
                self.events += message.events
                self.dropped += message.dropped

    def vip(self, name: str = "web") -> VipReport:
        """The last report; an empty one before the first."""
        self.poll()
        vips = self.report.vips if self.report else ()
        nothing = VipReport(name, Role.INITIALIZE, 0, 0)
        return next((v for v in vips if v.vip == name), nothing)

    def service(self, name: str = "edge") -> HeldAddresses:
        """The last report; an empty one before the first."""
        self.poll()
        services = self.report.anycast if self.report else ()
        nothing = HeldAddresses(name, (), complete=False)
        return next((s for s in services if s.service == name), nothing)

    def role(self, name: str = "web") -> str:
        return self.vip(name).role

    @property
    def reported(self) -> bool:
        self.poll()
        return self.report is not None

    @property
    def lateness(self) -> LatenessReport:
        self.poll()
        return self.report.lateness if self.report else LatenessReport()

    def told(self, kind: str, service: str | None = None) -> list[Event]:
        self.poll()
        return [
            e for e in self.events if e.type == kind and (service is None or e.service == service)
        ]

    def errors(self) -> list[str]:
        """Reasons for which packets were dropped."""
        self.poll()
        counters = self.report.counters if self.report else {}
        return sorted(name for name in counters if name.startswith("error:"))

    def counter(self, name: str) -> int:
        self.poll()
        return self.report.counters.get(name, 0) if self.report else 0


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def child_named(pid: int, name: str) -> int:
    """The child of that name; 0 = there is none."""
    for child in children(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            if Path(f"/proc/{child}/comm").read_text().strip() == name:
                return child
    return 0


def vip_toml(**overrides: object) -> str:
    """A configuration with one VIP; keys without defaults are filled in."""
    keys: dict[str, object] = {
        "name": "web",
        "interface": "eth0",
        "vrid": 51,
        "addresses": ["10.77.0.100/24"],
        "advert_interval_ms": 50,
        **overrides,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    return "\n".join(["[[vip]]", *lines, ""])


def anycast_toml(*prefixes: str, **overrides: object) -> str:
    """A service of these prefixes, and a router to announce them to."""
    families = sorted({ip_network(prefix).version for prefix in prefixes})
    bgp = '[bgp]\nlocal_as = 65001\nrouter_id = "10.77.0.11"\nend_shut_ms = 300\n'
    for family in families:
        routers = {4: ("10.77.0.12", "10.77.0.11"), 6: ("2001:db8::12", "2001:db8::11")}
        address, local = routers[family]
        bgp += (
            f'[[bgp.neighbor]]\nname = "tor{family}"\naddress = "{address}"\n'
            f'local_address = "{local}"\npeer_as = 65000\n'
        )
    keys = {"name": "edge", "prefixes": list(prefixes), **overrides}
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    return "\n".join([bgp, "[[anycast]]", *lines, ""])


def toml(*vips: str, state: Path, engine: str = "") -> str:
    """A whole configuration."""
    return "\n".join(
        [
            '[proxy]\nkind = "process"\nprocess = "none"',
            f'[state]\ndirectory = "{state}"',
            f'[api]\nsocket = "{state}/haman.sock"',
            f"[engine]\n{engine}",
            *vips,
        ]
    )
