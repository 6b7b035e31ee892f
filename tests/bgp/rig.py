"""A node in a namespace: the driver in this process, ExaBGP and its relay as the engine starts them."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from haman.bgp.announcer import Announcer
from haman.bgp.surface import AnnouncerSnapshot
from haman.config.exabgp import exabgp_environment
from haman.config.model import Anycast, Bgp, Config, Neighbor
from haman.core.announcements import EXABGP_CONF, Announcement, NeighborReport
from haman.core.words import Event
from tests.bgp.routers import Group
from tests.engine.net import Namespace, children

EDGE4, EDGE6 = "192.0.2.100/32", "2001:db8:ffff::100/128"

FRR = """
router bgp 65000
 bgp router-id 10.0.9.1
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 bgp bestpath as-path multipath-relax
 neighbor 10.0.1.2 remote-as 65001
 neighbor 10.0.1.2 timers 3 9
 neighbor 10.0.1.2 timers connect 1
 neighbor 2001:db8:1::2 remote-as 65001
 neighbor 2001:db8:1::2 timers 3 9
 neighbor 2001:db8:1::2 timers connect 1
 address-family ipv4 unicast
  neighbor 10.0.1.2 activate
 exit-address-family
 address-family ipv6 unicast
  neighbor 2001:db8:1::2 activate
 exit-address-family
"""
"""A router that takes what the node of `config()` announces."""


class SystemClock:
    """The host's clocks."""

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        return time.time_ns()


def neighbor(name: str = "tor1", number: int = 1, *, six: bool = False, **more) -> Neighbor:
    keys = {
        "address": f"2001:db8:{number}::1" if six else f"10.0.{number}.1",
        "local_address": f"2001:db8:{number}::2" if six else f"10.0.{number}.2",
        "peer_as": 65000,
        **more,
    }
    return Neighbor(name=name, **keys)


def config(*neighbors: Neighbor, **bgp) -> Config:
    both = (neighbor(), neighbor("tor1-v6", six=True))
    keys = {"local_as": 65001, "router_id": "10.0.1.2", **bgp}
    families = {n.address.count(":") > 0 for n in neighbors or both}
    prefixes = tuple(p for p in (EDGE4, EDGE6) if (":" in p) in families)
    return Config(
        bgp=Bgp(neighbor=neighbors or both, **keys),
        anycast=(Anycast("edge", prefixes),),
    )


def edge(*prefixes: str, **attributes) -> Announcement:
    return Announcement("edge", prefixes or (EDGE4, EDGE6), **attributes)


async def until(
    condition: Callable[[], object], timeout_s: float = 20.0, what: object = ""
) -> float:
    """Let the loop run until the condition holds; returns how long that took, in seconds."""
    began = time.monotonic()
    while not condition():
        shown = what() if callable(what) else what
        assert time.monotonic() - began < timeout_s, f"not within {timeout_s} s: {shown}"
        await asyncio.sleep(0.005)
    return time.monotonic() - began


class Node:
    """Everything of BGP on one node."""

    def __init__(self, space: Namespace, configuration: Config) -> None:
        self.space = space
        self.directory = Path(tempfile.mkdtemp(prefix="node-"))
        self.events: list[Event] = []
        self.changes = 0
        self.config = configuration
        self.announcer = self._announcer()
        self.exabgp: Group | None = None
        self._task: asyncio.Task[None] | None = None

    def _announcer(self) -> Announcer:
        return Announcer(
            self.config, self.directory, SystemClock(), self._changed, self.events.append
        )

    def _changed(self) -> None:
        self.changes += 1

    # ---- controller ----------------------------------------------------------------------------

    def start_controller(self) -> None:
        """Its tasks open their sockets where this thread is: in the namespace."""
        self.announcer = self._announcer()
        self._task = asyncio.get_running_loop().create_task(self.announcer.run())

    async def stop_controller(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    @property
    def seen(self) -> AnnouncerSnapshot:
        return self.announcer.snapshot()

    def neighbor(self, name: str = "tor1") -> NeighborReport:
        return next(n for n in self.seen.neighbors if n.name == name)

    def codes(self, name: str = "tor1") -> list[str]:
        return [reason.code for reason in self.neighbor(name).reasons]

    def told(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.type == kind]

    async def announced(self, *wanted: Announcement) -> float:
        """Declare, and wait for every acknowledgement."""
        self.announcer.declare(wanted)
        return await until(lambda: self.seen.announced == wanted, what=lambda: self.seen)

    # ---- engine --------------------------------------------------------------------------------

    def start_exabgp(self) -> None:
        """As the engine does, without a capability."""
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
        command += [sys.executable, "-m", "exabgp", "server", str(self.directory / EXABGP_CONF)]
        log = self.directory / "exabgp.log"
        self.exabgp = Group(self.space.command(*command), log, **exabgp_environment("root"))

    @property
    def relay_pid(self) -> int:
        """0 while there is none."""
        assert self.exabgp
        for pid in children(self.exabgp.pid):
            with contextlib.suppress(OSError):
                if b"haman.bgp.relay" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
        return 0

    def kill_exabgp(self) -> None:
        """Without a word."""
        assert self.exabgp
        os.kill(self.exabgp.pid, signal.SIGKILL)
        self.exabgp.close()

    async def up(self, *names: str) -> None:
        for name in names or [n.name for n in self.seen.neighbors]:
            await until(lambda name=name: self.neighbor(name).session == "up", what=lambda: self)

    def __str__(self) -> str:
        said = self.exabgp.said() if self.exabgp else ""
        return f"{self.seen}\n{self.events}\n{said[-3000:]}"

    async def close(self) -> None:
        await self.stop_controller()
        if self.exabgp is not None:
            relay = self.relay_pid
            self.exabgp.close()
            if relay:
                await until(lambda: not Path(f"/proc/{relay}").exists(), what="the relay's end")
        shutil.rmtree(self.directory)


@contextlib.asynccontextmanager
async def running(space: Namespace, configuration: Config) -> AsyncIterator[Node]:
    """A node at work, with this thread in its namespace."""
    node = Node(space, configuration)
    with space.inside():
        try:
            node.start_controller()
            await until(lambda: node.seen.digest, what=lambda: node)
            node.start_exabgp()
            await until(lambda: node.seen.relay, what=lambda: node)
            yield node
        finally:
            await node.close()
